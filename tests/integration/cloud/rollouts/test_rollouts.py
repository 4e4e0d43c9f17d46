"""Roll-outs in the cloud: what stations are offered, what their results lead to, the operator's commands."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner
from werkzeug.test import TestResponse

from aquasmart_cloud import cli
from aquasmart_cloud.services.alerting import Alerting
from aquasmart_cloud.store import policy
from aquasmart_cloud.store.config_documents import Documents
from tests.fakes.rauc_bundle import MadeBundle, make_bundle
from tests.integration.cloud.rollouts.scenes import Command, add, ask, fetch, start, status_of, tell, trail
from tests.integration.cloud.senders import CloudUnderTest, Sender


def test_nothing_is_offered_before_a_roll_out(sender: Sender, command: Command, bundle: MadeBundle) -> None:
    assert ask(sender) is None
    sha256 = add(command, bundle)
    assert ask(sender) is None
    assert status_of(sender, sha256) == 404


def test_the_offer_is_the_contracts(sender: Sender, command: Command, bundle: MadeBundle) -> None:
    rollout_id = start(command, bundle, "--all", "--window", "02:00-05:00", "--time-zone", "Asia/Kolkata")
    assert ask(sender) == {
        "rollout_id": rollout_id,
        "stopped": False,
        "window": {"from": "20:30", "to": "23:30"},
        "bundle": {
            "sha256": bundle.sha256,
            "size_bytes": bundle.size_bytes,
            "version": "1.5.0",
            "number": 13,
            "compatible": "aquasmart-test",
        },
    }


def test_the_window_is_in_the_stations_own_time_where_that_is_known(
    sender: Sender, command: Command, bundle: MadeBundle
) -> None:
    command("station", "zone", sender.station_id, "America/St_Johns")
    start(command, bundle, "--all", "--window", "23:00-01:00")
    offer = ask(sender)
    assert offer is not None
    assert offer["window"] == {"from": "02:30", "to": "04:30"}  # half past three hours behind, in November
    command("station", "zone", sender.station_id)
    offer = ask(sender)
    assert offer is not None
    assert offer["window"] == {"from": "23:00", "to": "01:00"}


def test_canaries_first_then_everybody(cloud: CloudUnderTest, command: Command, bundle: MadeBundle) -> None:
    one, two, other, stranger = (cloud.station(name) for name in ("one", "two", "other", "stranger"))
    for name in ("one", "two", "other"):
        Documents(cloud.database).join(name, "market", cloud.now_ms)
    rollout_id = start(command, bundle, "--group", "market", "--canary", "one", "--canary", "two")
    assert [ask(each) is not None for each in (one, two, other, stranger)] == [True, True, False, False]
    for each in (one, two):
        for state in ("downloading", "downloaded", "installing", "installed"):
            tell(each, rollout_id, state)
    assert ask(other) is None
    tell(one, rollout_id, "good")
    assert ask(other) is None
    tell(two, rollout_id, "good")
    assert (ask(other) is not None, ask(one), ask(stranger)) == (True, None, None)
    assert status_of(other, bundle.sha256) == 200
    assert status_of(stranger, bundle.sha256) == 404
    tell(other, rollout_id, "refused", "it was there")
    shown = command("rollout", "show", str(rollout_id))
    assert (shown["state"], shown["stage"], shown["counts"]) == ("finished", "all", {"good": 2, "refused": 1})
    assert trail(cloud) == [
        *("bundle-added", "rollout-started", "update-good", "update-good", "rollout-for-all"),
        *("update-refused", "rollout-finished"),
    ]


@pytest.mark.parametrize("end", ["failed", "fell-back", "refused"])
def test_a_canary_that_ends_badly_stops_it_with_an_alert(
    cloud: CloudUnderTest, command: Command, bundle: MadeBundle, end: str
) -> None:
    one, two = cloud.station("one"), cloud.station("two")
    rollout_id = start(command, bundle, "--all", "--canary", "one", "--canary", "two")
    tell(two, rollout_id, "downloading")
    tell(one, rollout_id, end, "no meter")
    shown = command("rollout", "show", str(rollout_id))
    assert (shown["state"], shown["changed_by"]) == ("stopped", "itself")
    assert shown["reason"].startswith("canary one ")
    assert shown["reason"].endswith(": no meter")
    offer = ask(two)
    assert offer is not None
    assert offer["stopped"] is True
    assert status_of(two, bundle.sha256) == 404
    job = Alerting(cloud.database)
    for _ in range(2):
        job.look(cloud.now_ms)
    query = "SELECT station_id, kind, subject, state FROM alert"
    assert cloud.query(query) == [("_cloud", "rollout-stopped", f"roll-out {rollout_id}", "open")]
    command("rollout", "stop", str(rollout_id), "--reason", "seen to")
    job.look(cloud.now_ms + 60_000)
    assert cloud.query(query) == [("_cloud", "rollout-stopped", f"roll-out {rollout_id}", "closed")]


def test_a_resumed_one_needs_another_canary_to_be_good(
    cloud: CloudUnderTest, command: Command, bundle: MadeBundle
) -> None:
    one, two, other = (cloud.station(name) for name in ("one", "two", "other"))
    rollout_id = start(command, bundle, "--all", "--canary", "one", "--canary", "two")
    tell(one, rollout_id, "failed")
    assert command("rollout", "resume", str(rollout_id))["state"] == "running"
    assert (ask(one), ask(other)) == (None, None)
    assert ask(two) is not None
    tell(two, rollout_id, "failed")
    status, said = command("rollout", "resume", str(rollout_id))
    assert (status, "every canary" in said) == (1, True)
    assert command("rollout", "show", str(rollout_id))["state"] == "stopped"


def test_stopped_by_hand_and_resumed(cloud: CloudUnderTest, command: Command, bundle: MadeBundle) -> None:
    begun, waiting = cloud.station("begun"), cloud.station("waiting")
    rollout_id = start(command, bundle, "--all", "--canaries", "0")
    tell(begun, rollout_id, "downloading")
    command("rollout", "stop", str(rollout_id), "--reason", "wait")
    offer = ask(begun)
    assert offer is not None
    assert (offer["stopped"], ask(waiting)) == (True, None)
    command("rollout", "resume", str(rollout_id))
    assert [ask(each)["stopped"] for each in (begun, waiting)] == [False, False]  # type: ignore[index]
    assert command("rollout", "resume", str(rollout_id))[0] == 1
    Alerting(cloud.database).look(cloud.now_ms)
    assert cloud.query("SELECT kind FROM alert") == []


def test_results_that_come_again_late_or_twice_change_nothing(
    cloud: CloudUnderTest, command: Command, bundle: MadeBundle
) -> None:
    sender, key = cloud.station(), str(uuid4())
    rollout_id = start(command, bundle, "--all")
    for _ in range(2):
        tell(sender, rollout_id, "installed", key=key, trace_id="ab" * 16)
    tell(sender, rollout_id, "installed")
    tell(sender, rollout_id, "downloading")
    [station] = command("rollout", "show", str(rollout_id))["stations"]
    assert station["state"] == "installed"
    tell(sender, rollout_id, "good")
    tell(sender, rollout_id, "failed")
    shown = command("rollout", "show", str(rollout_id))
    assert (shown["stations"][0]["state"], shown["state"]) == ("good", "finished")
    assert trail(cloud).count("update-good") == 1


def test_a_result_of_a_roll_out_that_is_not_known_is_kept_as_an_operation(sender: Sender) -> None:
    tell(sender, 77, "good")
    assert sender.cloud.one("SELECT count(*) FROM operation WHERE type = 'update_result'") == 1


def test_ranges_are_signed_pieces_and_the_rest_is_a_stream(
    sender: Sender, command: Command, bundle: MadeBundle
) -> None:
    start(command, bundle, "--all")
    data, size, sha256 = bundle.path.read_bytes(), bundle.size_bytes, bundle.sha256
    whole = fetch(sender, sha256)
    assert (whole.status_code, whole.get_data()) == (200, data)
    assert "X-Signature" not in whole.headers
    assert (whole.headers["ETag"], whole.headers["Accept-Ranges"]) == (f'"{sha256}"', "bytes")
    for asked, begin, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000-2999", 1000, 3000),
        (f"bytes={size - 7}-", size - 7, size),
        ("bytes=-9", size - 9, size),
        (f"bytes={size - 10}-{size * 3}", size - 10, size),
        (f"bytes=5-{5 + (1 << 20)}", 5, 6 + (1 << 20)),
    ):
        answer = fetch(sender, sha256, Range=asked)
        assert (answer.status_code, answer.get_data()) == (206, data[begin:end]), asked
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
        assert ("X-Signature" in answer.headers) == (end - begin <= 1 << 20)
        answer.close()
    beyond = fetch(sender, sha256, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.json["code"]) == (416, "no-range")
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    same = fetch(sender, sha256, Range="bytes=0-9", If_Range=f'"{sha256}"')
    other = fetch(sender, sha256, Range="bytes=0-9", If_Range='"another"')
    several = fetch(sender, sha256, Range="bytes=0-1,5-9")
    assert [each.status_code for each in (same, other, several)] == [206, 200, 200]
    for each in (whole, beyond, same, other, several):
        each.close()


def test_only_some_fetch_at_a_time_and_places_are_given_back(
    sender: Sender, command: Command, bundle: MadeBundle
) -> None:
    start(command, bundle, "--all")
    open_ones = [fetch_open(sender, bundle.sha256) for _ in range(3)]
    refused = fetch(sender, bundle.sha256, Range="bytes=0-9")
    assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    for each in open_ones:
        each.close()
    for _ in range(10):
        answer = fetch(sender, bundle.sha256, Range="bytes=0-9")
        assert answer.status_code == 206
        answer.close()
        fetch(sender, bundle.sha256, Range=f"bytes={bundle.size_bytes}-").close()


def fetch_open(sender: Sender, sha256: str) -> TestResponse:
    """An answer whose body nobody has read."""
    from tests.contract import reference as ref

    target, stamp = f"/v1/bundles/{sha256}", str(sender.cloud.now_ms)
    string = ref.signing_string(stamp, "GET", target, sender.station_id, b"")
    headers = {
        "X-Station-Id": sender.station_id,
        "X-Key-Id": sender.key_id,
        "X-Timestamp": stamp,
        "X-Signature": ref.signature(sender.key, string),
        "X-Software-Version": "0.1.0",
    }
    return sender.cloud.client.get(target, headers=headers)


def test_software_that_is_too_old_is_given_its_cure(
    cloud: CloudUnderTest, sender: Sender, command: Command, bundle: MadeBundle
) -> None:
    start(command, bundle, "--all")
    policy.require_version(cloud.database, "9.0.0", cloud.now_ms)
    assert sender.request(b"", target="/v1/config", method="GET").status_code == 426
    assert ask(sender) is not None
    assert status_of(sender, bundle.sha256, Range="bytes=0-9") == 206


def test_rates_and_signatures_hold_here_too(
    cloud: CloudUnderTest, sender: Sender, command: Command, bundle: MadeBundle
) -> None:
    start(command, bundle, "--all")
    for target in ("/v1/update", f"/v1/bundles/{bundle.sha256}"):
        assert cloud.client.get(target).status_code == 401
        forged = Sender(cloud, sender.station_id, sender.key_id, bytes(32))
        assert forged.request(b"", target=target, method="GET").status_code == 401
    policy.limit_rate(cloud.database, "2/minute", cloud.now_ms)
    statuses = [status_of(sender, bundle.sha256, Range="bytes=0-9") for _ in range(3)]
    assert statuses == [206, 206, 429]


def test_no_bundle_is_taken_for_one(cloud: CloudUnderTest, command: Command, tmp_path: Path) -> None:
    good = make_bundle(tmp_path / "good.raucb").path.read_bytes()
    facts = ("--version", "1.0.0", "--number", "1", "--compatible", "x")
    spoilt = {
        "empty": b"",
        "a text": b"hello\n" * 5_000,
        "cut short": good[:-4_096],
        "its last byte missing": good[:-1],
        "no squashfs": b"sqsh" + good[4:],
        "no signature": good[: 64 * 4_096] + bytes(len(good) - 64 * 4_096 - 8) + good[-8:],
        "a signature longer than the file": good[:-8] + (1 << 40).to_bytes(8, "big"),
    }
    for name, data in spoilt.items():
        path = tmp_path / "spoilt"
        path.write_bytes(data)
        status, said = command("bundle", "add", str(path), *facts)
        assert (status, "no RAUC bundle" in said) == (1, True), (name, said)
    large = make_bundle(tmp_path / "large.raucb", blocks=2_100)
    status, said = command("bundle", "add", str(large.path), *facts)
    assert (status, "AQUASMART_BUNDLE_MOST_MIB" in said) == (1, True)
    path = tmp_path / "good.raucb"
    for missing in (facts[2:], (*facts[:3], "0", *facts[4:]), (*facts[:5], "a/b")):
        assert command("bundle", "add", str(path), *missing)[0] in (1, 2)
    assert list((tmp_path / "bundles").iterdir()) == []
    assert command("bundle", "list") == {"bundles": []}


def test_the_same_bundle_twice_and_one_that_is_removed(
    cloud: CloudUnderTest, command: Command, bundle: MadeBundle, tmp_path: Path
) -> None:
    cloud.station()
    sha256 = add(command, bundle)
    assert add(command, bundle) == sha256
    rollout_id = command("rollout", "start", sha256[:8], "--all")["rollout_id"]
    status, said = command("bundle", "remove", sha256[:8])
    assert (status, f"roll-out {rollout_id}" in said) == (1, True)
    command("rollout", "stop", str(rollout_id))
    assert command("bundle", "remove", sha256) == {"sha256": sha256, "removed": True}
    assert list((tmp_path / "bundles").iterdir()) == []
    assert command("rollout", "start", sha256, "--all")[0] == 1
    assert command("rollout", "show", str(rollout_id))["bundle"]["version"] == "1.5.0"
    assert add(command, bundle) == sha256
    assert trail(cloud).count("bundle-added") == 2


def test_a_roll_out_that_cannot_begin_says_why(cloud: CloudUnderTest, command: Command, bundle: MadeBundle) -> None:
    sha256 = add(command, bundle)
    assert "no active station" in command("rollout", "start", sha256, "--all")[1]
    cloud.station("one")
    for words, says in (
        (("--all", "--canary", "nobody"), "cannot be a canary"),
        (("--group", "empty"), "no active station in group empty"),
        (("--all", "--time-zone", "Mars/Base"), "no time zone"),
    ):
        status, said = command("rollout", "start", sha256, *words)
        assert (status, says in said) == (1, True), said
    for wrong in (
        (),
        ("--all", "--group", "x"),
        ("--all", "--window", "2-5"),
        ("--all", "--canary", "a", "--canaries", "1"),
    ):
        assert command("rollout", "start", sha256, *wrong)[0] == 2
    assert "no bundle begins" in command("rollout", "start", "beef", "--all")[1]
    first = command("rollout", "start", sha256, "--all")["rollout_id"]
    assert f"roll-out {first} is under way" in command("rollout", "start", sha256, "--all")[1]
    for verb in ("show", "stop", "resume"):
        assert "there is no roll-out 99" in command("rollout", verb, "99")[1]


def test_commands_speak_to_people_too(
    cloud: CloudUnderTest, command: Command, bundle: MadeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 0, done.output
        return done.output

    assert "no bundles yet" in said("bundle", "list")
    assert "no roll-outs yet" in said("rollout", "list")
    sender = cloud.station()
    words = ("--version", "1.5.0", "--number", "13", "--compatible", "aquasmart-test")
    assert "not verified here" in said("bundle", "add", str(bundle.path), *words)
    assert "version 1.5.0, number 13" in said("bundle", "list")
    assert "canary  not begun" in said("rollout", "start", bundle.sha256[:6], "--all")
    tell(sender, 1, "failed", "because")
    shown = said("rollout", "show", "1")
    assert "stopped by itself" in shown
    assert "because" in shown
    assert "stopped by itself" in said("rollout", "list")
    assert "Europe/Berlin" in said("station", "zone", sender.station_id, "Europe/Berlin")
