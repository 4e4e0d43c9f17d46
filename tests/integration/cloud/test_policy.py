"""Problems that the cloud answers from real state: demands on software and rate, retired stations taken back."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from aquasmart_cloud.store import policy
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender
from tests.integration.cloud.test_answers import BEAT


def beat(sender: Sender, **payload: Any) -> dict[str, Any]:
    document = BEAT | {"payload": BEAT["payload"] | payload}
    answer = sender.request(json.dumps(document).encode(), target="/v1/heartbeat")
    assert answer.status_code == 200, answer.text
    assert "X-Signature" in answer.headers
    return dict(answer.json["data"])


def test_old_software_is_held_until_it_is_welcome(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(1_000_000)
    policy.require_version(cloud.database, "99.0.0", cloud.now_ms)
    refused = sender.send(run.batch([450]))
    assert (refused.status_code, refused.json["code"]) == (426, "upgrade-required")
    assert refused.json["minimum_version"] == "99.0.0"
    assert "X-Signature" in refused.headers
    assert not any(cloud.stored().values())
    policy.require_version(cloud.database, None, cloud.now_ms)
    assert sender.send(Run(1_000_000).batch([450])).status_code == 200


def test_a_station_above_its_rate_is_told_when_to_come_back_and_no_other_is(cloud: CloudUnderTest) -> None:
    policy.limit_rate(cloud.database, "3/minute", cloud.now_ms)
    greedy, modest = cloud.station("greedy"), cloud.station("modest")
    run = Run(1_000_000)
    for _ in range(3):
        assert greedy.send(run.batch([1])).status_code == 200
    limited = greedy.send(run.batch([1]))
    assert (limited.status_code, limited.json["code"]) == (429, "rate-limited")
    assert "X-Signature" in limited.headers
    assert 20 <= int(limited.headers["Retry-After"]) <= 25
    assert modest.send(Run(1_000_000).batch([1])).status_code == 200
    cloud.now_ms += 20_000
    assert greedy.request(json.dumps(BEAT).encode(), target="/v1/heartbeat").status_code == 200


def test_a_retired_station_that_was_taken_back_is_heard_again(cloud: CloudUnderTest, sender: Sender) -> None:
    cloud.stations.retire("demo-1")
    assert sender.send(Run(1_000_000).batch([1])).status_code == 410
    cloud.stations.reinstate("demo-1")
    assert sender.send(Run(1_000_000).batch([1])).status_code == 200


def test_every_answer_says_how_large_the_fleet_is(cloud: CloudUnderTest, sender: Sender) -> None:
    assert sender.send(Run(1_000_000).batch([1])).json["data"]["fleet"] == 1
    cloud.station("demo-2")
    cloud.station("demo-3")
    cloud.stations.retire("demo-3")
    cloud.now_ms += 60_000
    assert beat(sender)["fleet"] == 2


def test_the_command_sets_shows_and_clears(cloud: CloudUnderTest, monkeypatch: Any) -> None:
    from aquasmart_cloud import cli
    from aquasmart_cloud.config import Config

    monkeypatch.setattr(Config, "or_exit", classmethod(lambda _: cloud.config))
    run = CliRunner().invoke

    def shown() -> dict[str, Any]:
        return dict(json.loads(run(cli.main, ["policy", "show", "--json"]).output))

    assert shown() == {"minimum_version": None, "rate_limit": None}
    assert run(cli.main, ["policy", "minimum-version", "1.2.3"]).exit_code == 0
    assert run(cli.main, ["policy", "rate-limit", "600/minute"]).exit_code == 0
    assert shown() == {"minimum_version": "1.2.3", "rate_limit": {"requests": 600, "period_ms": 60_000}}
    wrong = run(cli.main, ["policy", "minimum-version", "new"])
    assert wrong.exit_code == 1
    assert "write it as 1.20.3" in wrong.output
    assert run(cli.main, ["policy", "minimum-version", "--none"]).exit_code == 0
    assert shown()["minimum_version"] is None


DIGEST, OTHER = "a" * 64, "b" * 64


def held(run: Run, through: int, counts: int = 0) -> dict[str, Any]:
    return {"stream": run.header["id"], "from": 1, "through": through, "counts_through": counts}


def test_the_whole_list_is_asked_for_where_it_is_unknown_or_another(cloud: CloudUnderTest, sender: Sender) -> None:
    assert "retained" not in beat(sender)  # a station that says nothing of it is asked nothing
    assert beat(sender, retained_digest=DIGEST)["retained"] == "wanted"
    assert "retained" not in beat(sender, retained_digest=DIGEST, retained=[])
    assert "retained" not in beat(sender, retained_digest=DIGEST)
    assert beat(sender, retained_digest=OTHER)["retained"] == "wanted"


def test_what_the_cloud_lacks_is_asked_for_until_it_is_there(cloud: CloudUnderTest, sender: Sender) -> None:
    known, unknown = Run(1_000_000), Run(5_000_000)
    assert sender.send(known.batch([1, 1, 1])).status_code == 200
    listed = [held(known, 5), held(unknown, 2)]
    expected = [
        {"stream": known.header["id"], "expected_seq": 4, "counts_through": 1_000_003},
        {"stream": unknown.header["id"], "expected_seq": 1, "counts_through": 0},
    ]
    assert beat(sender, retained_digest=DIGEST, retained=listed)["resend_from"] == expected
    # The list is kept: later heartbeats carry only the digest.
    assert beat(sender, retained_digest=DIGEST)["resend_from"] == expected
    assert sender.send(known.batch([1, 1])).status_code == 200
    assert beat(sender, retained_digest=DIGEST)["resend_from"] == expected[1:]
    assert sender.send(unknown.batch([1, 1])).status_code == 200
    assert beat(sender, retained_digest=DIGEST)["resend_from"] == []
    assert cloud.one("SELECT behind FROM retained") == 0


def test_a_list_of_wrong_form_is_refused_whole(cloud: CloudUnderTest, sender: Sender) -> None:
    for wrong in ({"retained_digest": "x"}, {"retained": [{"stream": "x"}]}, {"retained": 5}):
        document = BEAT | {"payload": BEAT["payload"] | wrong}
        answer = sender.request(json.dumps(document).encode(), target="/v1/heartbeat")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert cloud.stored()["heartbeat"] == 0
