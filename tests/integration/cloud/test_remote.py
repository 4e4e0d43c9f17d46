"""Settings, notices, rotation and refused calibrations: signed requests and the operator's commands."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from click.testing import CliRunner

from aquasmart_cloud import cli, cli_wiring
from aquasmart_cloud.core.settings import EMPTY_SHA256, sha256_of
from aquasmart_cloud.store.config_documents import Documents
from tests.contract.reference import volume_ul
from tests.integration.cloud.operating import DEARER, KEY, SCALE, local_change, operate
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender


def fetch(sender: Sender, target: str = "/v1/config") -> dict[str, Any]:
    trace_id = uuid4().hex
    extra = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
    answer = sender.request(b"", target=target, method="GET", extra=extra)
    assert answer.status_code == 200, answer.text
    assert answer.json["meta"]["trace_id"] == trace_id
    return dict(answer.json["data"])


def announced(sender: Sender) -> dict[str, Any]:
    return sender.take(Run(1_000_000).batch([1]))


def test_without_any_settings_nothing_is_announced(sender: Sender) -> None:
    data = announced(sender)
    assert (data["config"], data["notice"]) == ({"version": 0, "sha256": EMPTY_SHA256}, 0)
    assert "rotate" not in data
    assert fetch(sender)["document"] == {}


def test_a_station_added_after_the_fleets_document_gets_it(cloud: CloudUnderTest) -> None:
    documents, fleet = Documents(cloud.database), {"reader": {"poll_hz": 5}}
    documents.replace("fleet", "", fleet, "op", cloud.now_ms)
    late = cloud.station("late")
    assert announced(late)["config"] == {"version": 1, "sha256": sha256_of(fleet)}
    assert fetch(late)["document"] == fleet
    documents.replace("fleet", "", {}, "op", cloud.now_ms)
    assert announced(late)["config"] == {"version": 2, "sha256": EMPTY_SHA256}


def test_a_document_concerns_only_those_it_is_for(cloud: CloudUnderTest) -> None:
    documents, one, two = Documents(cloud.database), cloud.station("one"), cloud.station("two")
    documents.join("two", "north", cloud.now_ms)
    documents.replace("group", "north", {"sync": {"linger_s": 9}}, "op", cloud.now_ms)
    documents.replace("station", "one", {"sync": {"linger_s": 1}}, "op", cloud.now_ms)
    assert fetch(one)["document"] == {"sync": {"linger_s": 1}}
    assert fetch(two)["document"] == {"sync": {"linger_s": 9}}
    documents.join("two", "", cloud.now_ms)
    assert fetch(two)["document"] == {}


def test_the_operator_sees_each_step(cloud: CloudUnderTest, sender: Sender) -> None:
    documents = Documents(cloud.database)

    def state() -> str:
        return str(documents.progress()[0]["state"])

    assert state() == "none"
    documents.replace("fleet", "", {"sync": {"linger_s": 1}}, "op", cloud.now_ms)
    assert state() == "waiting"
    announced(sender)
    assert state() == "sent"
    found = fetch(sender)
    assert state() == "received"
    told = {"version": found["version"], "sha256": found["sha256"], "result": "refused", "reasons": ["because"]}
    assert operate(sender, "config_applied", told).status_code == 200
    assert (state(), documents.progress()[0]["reasons"]) == ("refused", ["because"])
    documents.replace("fleet", "", {"sync": {"linger_s": 2}}, "op", cloud.now_ms)
    assert state() == "waiting"


def test_a_conflict_says_who_and_when_and_what(cloud: CloudUnderTest, sender: Sender) -> None:
    Documents(cloud.database).replace("fleet", "", {"sync": {"linger_s": 1}}, "Grace", cloud.now_ms)
    answer = operate(sender, "local_change", local_change(), if_match="0")
    assert (answer.status_code, answer.json["code"]) == (412, "config-conflict")
    assert answer.json["document"] == {"sync": {"linger_s": 1}}
    assert (answer.json["version"], answer.json["set_by"], answer.json["set_at"]) == (1, "Grace", cloud.now_ms)
    again = operate(sender, "local_change", local_change(), if_match="1")
    assert again.json["data"]["config_version"] == 2
    assert fetch(sender)["document"]["meters"] == {"tap-1": {"scale": SCALE}}


def test_a_refused_price_is_named_whichever_comes_first(cloud: CloudUnderTest, sender: Sender) -> None:
    Documents(cloud.database).replace("policy", "", {"scale_change_ppm_max": 10_000}, "op", cloud.now_ms)
    token = str(uuid4())
    refused = Run(1_000_000, scale=DEARER, change_token=token)
    sender.take(refused.batch([5, 7]))
    assert cloud.entries() == {}
    change = local_change(DEARER, SCALE, token)
    assert operate(sender, "local_change", change, if_match="0").json["code"] == "change-refused"
    sender.take(refused.batch([11]))
    # A restart while it was unconfirmed: another stream under the same token, on top of the first.
    after = Run(refused.position, scale=DEARER, change_token=token, epoch=refused.header["epoch"])
    sender.take(after.batch([13]))
    rolled_back = Run(after.position, epoch=refused.header["epoch"])
    sender.take(rolled_back.batch([17]))
    low, high = 1_000_000, after.position
    dearer = volume_ul(low, refused.position, 21000, 9) + volume_ul(refused.position, high, 21000, 9)
    assert cloud.entries() == {"scale-refused": dearer - volume_ul(low, high, 20000, 9)}
    detail = cloud.detail("scale-refused")
    assert (detail["counts"], detail["change_token"]) == (36, token)
    cloud.assert_books_balance()


def test_a_refusal_of_what_is_no_scale_names_nothing(cloud: CloudUnderTest, sender: Sender) -> None:
    Documents(cloud.database).replace("policy", "", {"refuse": ["sync"]}, "op", cloud.now_ms)
    change = local_change() | {"key": ["sync", "linger_s"], "value": 1}
    assert operate(sender, "local_change", change, if_match="0").status_code == 403
    assert operate(sender, "local_change", local_change() | {"value": 5}, if_match="0").status_code == 403
    assert operate(sender, "local_change", local_change() | {"key": KEY}, if_match="0").status_code == 200
    assert cloud.entries() == {}


def command(cloud: CloudUnderTest, monkeypatch: Any, *words: str) -> Any:
    monkeypatch.setattr(cli_wiring.Config, "or_exit", classmethod(lambda _: cloud.config))
    return CliRunner().invoke(cli.main, list(words))


def test_commands_refuse_what_makes_no_sense(cloud: CloudUnderTest, monkeypatch: Any) -> None:
    cloud.station("demo-1")
    for words in (
        ("config", "set", "reader.poll_hz=5"),
        ("config", "set", "--all", "--group", "x", "reader.poll_hz=5"),
        ("config", "set", "--all"),
        ("config", "set", "--all", "reader.poll_hz"),
        ("config", "set", "--all", "reader.poll_hz=fast"),
        ("config", "set", "--all", "poll_hz=5"),
        ("config", "policy", "scale_change_ppm_max=-1"),
        ("notice", "send", "--all", ""),
        ("notice", "send", "--all", "two\nlines"),
    ):
        found = command(cloud, monkeypatch, *words)
        assert found.exit_code == 2, words
    unknown = (
        ("config", "set", "--station", "nobody", "a.b=1"),
        ("station", "rotate", "nobody"),
        ("notice", "send", "--station", "nobody", "x"),
        ("notice", "send", "--group", "none", "x"),
    )
    for words in unknown:
        assert command(cloud, monkeypatch, *words).exit_code == 1, words


def test_commands_speak_to_people_too(cloud: CloudUnderTest, monkeypatch: Any) -> None:
    sender = cloud.station("demo-1")
    assert "version 1" in command(cloud, monkeypatch, "config", "set", "--all", "sync.linger_s=3").output
    assert "waiting" in command(cloud, monkeypatch, "config", "status").output
    assert "linger_s" in command(cloud, monkeypatch, "config", "history", "--all").output
    assert "linger_s" in command(cloud, monkeypatch, "config", "show", "--station", "demo-1").output
    assert "ppm" in command(cloud, monkeypatch, "config", "policy", "scale_change_ppm_max=5").output
    assert "1 station" in command(cloud, monkeypatch, "notice", "send", "--all", "hello").output
    assert fetch(sender, "/v1/notices?after=0")["notices"][0]["text"] == "hello"
    assert "fetched" in command(cloud, monkeypatch, "notice", "list").output
    assert "no operations" in command(cloud, monkeypatch, "operations", "list", "demo-1").output


def test_an_offer_stands_until_the_new_key_is_used(cloud: CloudUnderTest, sender: Sender, monkeypatch: Any) -> None:
    for _ in range(2):
        offered = json.loads(command(cloud, monkeypatch, "station", "rotate", "demo-1", "--json").output)["key_id"]
    rotate = announced(sender)["rotate"]
    assert rotate["key_id"] == offered
    told = {"base_key_id": "k1", "nonce": "ab" * 32}
    first = operate(sender, f"key_confirm/{offered}", told).json["data"]
    second = operate(sender, f"key_confirm/{offered}", told | {"nonce": "cd" * 32}).json["data"]
    assert (first["nonce"], second["nonce"]) == ("ab" * 32, "ab" * 32)
    assert announced(sender)["rotate"] == rotate
    key = cloud.stations.find_key("demo-1", offered)
    assert key is not None
    new = Sender(cloud, "demo-1", offered, key.key)
    assert "rotate" not in announced(new)
    assert "rotate" not in announced(sender)
    for bad in ("key_confirm/k9", f"key_confirm/{offered}"):
        assert operate(sender, bad, told | {"base_key_id": "k9" if "9" not in bad else "k1"}).status_code in (200, 404)


def test_a_revoked_key_is_no_ground_for_a_new_one(cloud: CloudUnderTest, sender: Sender, monkeypatch: Any) -> None:
    other = cloud.stations.rotate_key("demo-1", cloud.now_ms)
    cloud.stations.revoke("demo-1", other.key_id, cloud.now_ms)
    offered = json.loads(command(cloud, monkeypatch, "station", "rotate", "demo-1", "--json").output)["key_id"]
    answer = operate(sender, f"key_confirm/{offered}", {"base_key_id": other.key_id, "nonce": "ab" * 32})
    assert (answer.status_code, answer.json["code"]) == (403, "change-refused")
    assert cloud.stations.find_key("demo-1", offered) is None


def test_notices_come_in_order_and_are_counted_once(cloud: CloudUnderTest, sender: Sender) -> None:
    from aquasmart_cloud.store import notices

    for text in ("one", "two", "three"):
        notices.send(cloud.database, text, stations=None, group=None, now_ms=cloud.now_ms)
    assert announced(sender)["notice"] == 3
    assert [each["text"] for each in fetch(sender, "/v1/notices?after=1")["notices"]] == ["two", "three"]
    assert fetch(sender, "/v1/notices")["notices"][0]["number"] == 1
    assert sender.request(b"", target="/v1/notices?after=x", method="GET").status_code == 422
