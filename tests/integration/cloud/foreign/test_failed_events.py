"""Failed events: shown with their original, corrected, tried again by a newer version, dismissed; and the trail."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from aquasmart_cloud.core.normalising.event import CURRENT, Normalised, Normaliser, Rejected
from aquasmart_cloud.core.normalising.incoming import incoming
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.core.problems import Fault
from aquasmart_cloud.services.reprocessing import Reprocessing
from aquasmart_cloud.store import intake
from aquasmart_cloud.store.intake_log import Occasion
from demo.site import program
from tests.integration.cloud.foreign.gunicorn import Answer, ClientOf, Served, event

BAD = {"metric": "sale", "amount": "1.2.3", "timestamp": "2024-03-01T10:15:00Z", "exact": 1.10}


def command(cloud: Served, *words: str, given: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [program("aquasmart-cloud"), *words], capture_output=True, text=True, input=given, env=cloud.environment()
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def reprocess(cloud: Served, failed_id: str, body: Any = None) -> Answer:
    return cloud.person("POST", f"/api/failed-events/{failed_id}/reprocess", {} if body is None else body)


def actions(cloud: Served, client: ClientOf) -> list[str]:
    trail = cloud.person("GET", f"/api/clients/{client.client_id}/log").json["log"]
    return [each["action"] for each in reversed(trail)]


def older(read: Callable[[Any, Rules], Normalised | Rejected], version: int = 0) -> Normaliser:
    return Normaliser(version, read)


def without_currency_signs(value: Any, rules: Rules) -> Normalised | Rejected:
    """What a version that knew no currency signs made of an event."""
    if "$" in json.dumps(value):
        return Rejected((Fault("amount", "is not a number"),))
    return CURRENT.read(value, rules)


def at_second_precision(value: Any, rules: Rules) -> Normalised | Rejected:
    """What a version that knew no station made of an event: other content, so another hash."""
    return CURRENT.read({name: each for name, each in value.items() if name != "station"}, rules)


def take_as(cloud: Served, client: ClientOf, normaliser: Normaliser, value: Any) -> intake.Result:
    """Store an event as an older version of the software did."""
    came = incoming(value, Rules(client.client_id), normaliser)
    [result] = intake.take(cloud.database, client.client_id, [came], Occasion(1, "0" * 32, "0" * 32, "test"))
    return result


def test_a_failed_event_is_shown_with_exactly_what_came(served: Served, client: ClientOf) -> None:
    body = b'{ "timestamp":"2024-03-01T10:15:00Z","metric":"sale", "amount": "1.2.3", "exact":1.10}'
    failed_id = client.send(body).json["event_id"]
    shown = served.person("GET", f"/api/failed-events/{failed_id}")
    assert b'"exact":1.10' in shown.body
    assert shown.json["original"] == BAD
    assert (shown.json["state"], shown.json["errors"][0]["where"]) == ("open", "amount")


def test_an_edited_event_is_processed_once_and_its_original_is_known(served: Served, client: ClientOf) -> None:
    failed_id = client.send(BAD).json["event_id"]
    still = reprocess(served, failed_id, {"event": {**BAD, "amount": 0}})
    assert (still.status, still.json["event_id"], still.json["status"]) == (422, failed_id, "failed")
    done = reprocess(served, failed_id, {"event": {**BAD, "amount": "1.2"}})
    assert (done.status, done.json["status"], done.json["event"]["amount"]) == (201, "processed", "1.2")
    original = client.send(BAD)
    assert (original.status, original.json["event_id"]) == (200, done.json["event_id"])
    assert client.send({**BAD, "amount": "1.2"}).json["event_id"] == done.json["event_id"]
    assert client.get("/api/stats").json["processed"] == 1
    shown = served.person("GET", f"/api/failed-events/{failed_id}").json
    assert (shown["state"], shown["closed_by"], shown["edited"]["amount"]) == ("processed", "admin", "1.2")
    again = reprocess(served, failed_id, {"event": {**BAD, "amount": 5}})
    assert (again.status, again.json["code"]) == (409, "already-closed")
    assert actions(served, client) == ["foreign-events", *["failed-event-edited"] * 2]


def test_an_edited_event_that_is_known_already_counts_nothing(served: Served, client: ClientOf) -> None:
    first = client.send(event())
    failed_id = client.send(event(amount="?")).json["event_id"]
    done = reprocess(served, failed_id, {"event": event(amount="1,200")})
    assert (done.status, done.json["status"], done.json["event_id"]) == (200, "duplicate", first.json["event_id"])
    assert client.get("/api/aggregations").json["groups"][0]["count"] == 1
    assert served.person("GET", f"/api/failed-events/{failed_id}").json["state"] == "processed"


def test_a_conflict_is_solved_with_another_id(served: Served, client: ClientOf) -> None:
    client.send(event(id="7"))
    failed_id = client.send(event(id="7", amount=5)).json["event_id"]
    assert reprocess(served, failed_id).status == 409
    assert reprocess(served, failed_id, {"event": event(id="7b", amount=5)}).status == 201
    assert client.get("/api/aggregations").json["groups"][0]["sum"] == "1205"


def test_a_dismissed_event_keeps_its_reason(served: Served, client: ClientOf) -> None:
    failed_id = client.send(BAD).json["event_id"]
    for body in ({}, {"reason": " "}, {"reason": 5}, {"reason": "x" * 1001}, [1]):
        assert served.person("POST", f"/api/failed-events/{failed_id}/dismiss", body).status == 422
    done = served.person("POST", f"/api/failed-events/{failed_id}/dismiss", {"reason": "a test of theirs"})
    assert (done.status, done.json["state"], done.json["reason"]) == (200, "dismissed", "a test of theirs")
    assert client.send(BAD).json["event_id"] == failed_id
    assert client.get("/api/failed-events").json["events"] == []
    assert len(client.get("/api/failed-events?state=all").json["events"]) == 1
    assert actions(served, client)[-1] == "failed-event-dismissed"
    for bad in ("nothing", "c_x.1", f"{client.client_id}.999", f"{client.client_id}.{'9' * 30}", "%00.1"):
        assert served.person("GET", f"/api/failed-events/{bad}").status == 404
        assert reprocess(served, bad).status == 404


def test_f11_a_new_version_reprocesses_without_a_second_identity(served: Served, client: ClientOf) -> None:
    written = event(amount="$1200")
    failed = take_as(served, client, older(without_currency_signs), written)
    assert failed.status == "failed"
    kept_failing = client.send(BAD).json["event_id"]
    said = json.loads(command(served, "reprocess", "--client", client.client_id, "--json"))
    assert (said["tried"], said["processed"], said["failed"]) == (1, 1, 0)
    for same in (written, event(), event(amount="1200.0")):
        assert client.send(same).status == 200
    assert client.get("/api/stats").json["processed"] == 1
    assert [each["event_id"] for each in client.get("/api/failed-events").json["events"]] == [kept_failing]
    assert "0 tried" in command(served, "reprocess", "--client", client.client_id)
    assert "1 tried" in command(served, "reprocess", "--all", "--client", client.client_id)
    assert actions(served, client).count("failed-event-reprocessed") == 2


@pytest.mark.parametrize("given", [{}, {"id": "7"}])
def test_f11_an_event_of_an_older_version_is_known_by_what_the_new_one_makes_of_it(
    served: Served, client: ClientOf, given: dict[str, Any]
) -> None:
    """The older version read other content out of it: without a look by the new one, other words count twice."""
    written = event(station="demo-1", **given)
    first = take_as(served, client, older(at_second_precision), written)
    exactly = client.send(written)
    assert (exactly.status, exactly.json["event_id"]) == (200, first.event_id)
    said = json.loads(command(served, "reprocess", "--client", client.client_id, "--json"))
    assert said["known_again"] == 1
    other_words = client.send(event(station="Demo-1", amount="1,200", **given))
    assert (other_words.status, other_words.json["event_id"]) == (200, first.event_id)
    assert client.get("/api/stats").json["processed"] == 1


def test_an_event_that_our_own_mistake_cannot_read_is_kept_and_read_later(served: Served, client: ClientOf) -> None:
    def broken(value: Any, rules: Rules) -> Normalised | Rejected:
        raise ZeroDivisionError(value, rules)

    failed = take_as(served, client, older(broken), event())
    assert (failed.status, failed.code) == ("failed", "not-normalised")
    done = Reprocessing(served.database, served.clients).all(Occasion(2, "0", "0", "test"), client.client_id)
    assert (done.tried, done.processed) == (1, 1)
    assert client.send(event()).status == 200


def test_a_repetition_after_a_mapping_was_changed_ends_the_failure(served: Served, client: ClientOf) -> None:
    failed_id = client.send({"litros": 2, "metric": "agua", "timestamp": 1_709_288_100}).json["event_id"]
    served.clients.change(client.client_id, {"mapping": {"fields": {"litros": "amount"}}})
    said = json.loads(command(served, "reprocess", "--all", "--client", client.client_id, "--json"))
    assert said["processed"] == 1
    assert served.person("GET", f"/api/failed-events/{failed_id}").json["event_seq"] == 1


def test_events_are_known_after_retention_took_them(served: Served, client: ClientOf) -> None:
    first = client.send(event())
    served.execute("DELETE FROM foreign_event WHERE client_id = ?", client.client_id)
    again = client.send(event(amount="1,200"))
    assert (again.status, again.json["event_id"]) == (200, first.json["event_id"])
    assert client.get("/api/aggregations").json["groups"][0]["count"] == 1


def test_the_commands_from_a_client_to_a_corrected_event(served: Served) -> None:
    made = json.loads(command(served, "client", "add", "Commands Ltd.", "--json"))
    assert set(made) == {"client_id", "token"}
    client = ClientOf(served, made["client_id"], made["token"])
    assert "already" in command(served, "client", "add", "commands ltd", code=1)
    failed_id = client.send({**BAD, "timestamp": "03/13/2024"}).json["event_id"]
    assert "mdy" in command(
        served, "client", "set", client.client_id, "--date-order", "mdy", "--mapping", "-", given="{}"
    )
    assert "fields" in command(served, "client", "set", client.client_id, "--mapping", "-", given="[]", code=1)
    listed = [json.loads(line) for line in command(served, "failed", "list", "--json").splitlines()]
    assert failed_id in [each["event_id"] for each in listed]
    assert '"exact":1.1' in command(served, "failed", "show", failed_id)
    assert "still fails" in command(served, "failed", "edit", failed_id, "-", given="{}", code=1)
    fixed = json.dumps({**BAD, "amount": 3, "timestamp": "03/13/2024"})
    assert "processed" in command(served, "failed", "edit", failed_id, "-", given=fixed)
    assert "already" in command(served, "failed", "dismiss", failed_id, "--reason", "x", code=1)
    assert "no failed event" in command(served, "failed", "show", "nothing", code=1)
    assert client.client_id in command(served, "client", "list")
    fresh = json.loads(command(served, "client", "new-token", client.client_id, "--json"))
    assert client.send(event()).status == 401
    command(served, "client", "revoke", client.client_id)
    assert ClientOf(served, client.client_id, fresh["token"]).send(event()).status == 403
    assert json.loads(command(served, "client", "show", client.client_id))["state"] == "revoked"
    assert "no client" in command(served, "client", "show", "c_nobody", code=1)
