"""Foreign events through HTTP: exactly once, whatever their form; what cannot be read is kept and named."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.cloud.foreign.gunicorn import ADMIN, Answer, ClientOf, Served, event


def events_of(client: ClientOf) -> list[dict[str, Any]]:
    return list(client.get("/api/events?limit=1000").json["events"])


def failures_of(client: ClientOf, state: str = "open") -> list[dict[str, Any]]:
    return list(client.get(f"/api/failed-events?state={state}").json["events"])


def count_of(client: ClientOf) -> dict[str, Any]:
    groups = client.get("/api/aggregations").json["groups"]
    return dict(groups[0]) if groups else {"count": 0}


def test_a_new_event_is_201_and_stored_with_its_original(served: Served, client: ClientOf) -> None:
    answer = client.send(event(colour="blue"))
    assert answer.status == 201
    said = answer.json
    assert (said["status"], said["warnings"]) == ("processed", ["unknown field 'colour' is ignored"])
    assert said["event"]["amount"] == "1200"
    [stored] = events_of(client)
    assert stored["event_id"] == said["event_id"]
    shown = client.get(f"/api/events/{client.client_id}/{stored['event_seq']}").json
    assert shown["original"] == event(colour="blue")
    [(action, detail)] = served.query(
        "SELECT action, detail FROM processing_log WHERE station_id = ?", client.client_id
    )
    assert (action, json.loads(detail)["processed"]) == ("foreign-events", 1)


@pytest.mark.parametrize("given", [{}, {"id": "order-17"}])
def test_f14_duplicates_answer_200_with_the_first_result(
    served: Served, client: ClientOf, given: dict[str, Any]
) -> None:
    first = client.send(event(**given))
    before = served.rows()
    for _ in range(3):
        again = client.send(event(**given))
        assert (again.status, again.json["status"]) == (200, "duplicate")
        for name in ("event_id", "event", "received_at", "warnings"):
            assert again.json[name] == first.json[name]
    assert served.rows() == before
    assert count_of(client)["count"] == 1


def test_f6_the_same_content_written_otherwise_is_the_same_event(client: ClientOf) -> None:
    first = client.send(event(amount="1,200"))
    for same in (
        {"amount": "1200.0"},
        {"amount": "$1200"},
        {"metric": "  SALE "},
        {"source": "POS"},
        {"timestamp": 1_709_288_100},
        {"timestamp": "2024-03-01T11:15:00+01:00"},
    ):
        answer = client.send(event(**same))
        assert (answer.status, answer.json["event_id"]) == (200, first.json["event_id"]), same
    assert client.send(event(amount="1200.01")).status == 201
    assert len(events_of(client)) == 2


def test_f7_a_missing_timestamp_is_422_and_never_now(client: ClientOf) -> None:
    for _ in range(2):
        answer = client.send(event(timestamp=None))
        assert answer.status == 422
        assert answer.json["errors"] == [{"where": "timestamp", "what": "is missing"}]
    assert events_of(client) == []
    assert len(failures_of(client)) == 1


def test_f5_invalid_twice_is_one_failed_event_with_the_same_id(served: Served, client: ClientOf) -> None:
    bad = {"amount": "-5", "timestamp": "yesterday"}
    first = client.send(bad)
    before = served.rows()
    again = client.send(dict(reversed(bad.items())))
    assert (first.status, again.status) == (422, 422)
    assert first.json["event_id"] == again.json["event_id"]
    assert {each["where"] for each in first.json["errors"]} == {"metric", "amount", "timestamp"}
    assert served.rows() == before
    [kept] = failures_of(client)
    assert (kept["event_id"], kept["original"], kept["code"]) == (first.json["event_id"], bad, "invalid")


def test_f8_dates_by_the_clients_order_with_a_warning_where_ambiguous(make_client: Callable[..., ClientOf]) -> None:
    day_first, month_first = make_client(), make_client(date_order="mdy")
    said = [each.send(event(timestamp="01/03/2024")).json for each in (day_first, month_first)]
    assert [each["event"]["timestamp"] for each in said] == ["2024-03-01T00:00:00Z", "2024-01-03T00:00:00Z"]
    assert all("could be day first or month first" in each["warnings"][0] for each in said)
    assert day_first.send(event(timestamp="13/03/2024")).json["warnings"] == []
    assert month_first.send(event(timestamp="13/03/2024")).status == 422


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e999", "1" * 30, '"twelve"', "true", "[]"])
def test_f9_amounts_that_are_none_are_422(client: ClientOf, amount: str) -> None:
    body = f'{{"metric": "sale", "amount": {amount}, "timestamp": 1709288100}}'.encode()
    answer = client.send(body)
    assert (answer.status, answer.json["status"]) == (422, "failed")
    assert [each["where"] for each in answer.json["errors"]] == ["amount"]
    assert events_of(client) == []


def test_f10_the_same_id_with_other_content_is_409_and_a_failed_event(client: ClientOf) -> None:
    first = client.send(event(id="7"))
    other = client.send(event(id="7", amount=5))
    assert (other.status, other.json["status"], other.json["code"]) == (409, "failed", "id-conflict")
    assert client.send(event(id="7", amount=5)).json["event_id"] == other.json["event_id"]
    assert client.send(event(id="7", amount="1,200.00")).json["event_id"] == first.json["event_id"]
    assert [each["event_id"] for each in failures_of(client)] == [other.json["event_id"]]
    assert count_of(client)["sum"] == "1200"


def test_f12_unknown_fields_are_warnings_and_no_errors(client: ClientOf) -> None:
    answer = client.send(event(shop={"floor": 2}, note="x"))
    assert answer.status == 201
    assert len(answer.json["warnings"]) == 2


def test_f13_aggregates_count_only_processed_events(client: ClientOf) -> None:
    client.send(event(amount="0.1"))
    client.send(event(amount="0.2"))
    client.send(event(amount="0.2"))
    client.send(event(amount="x"))
    client.send(event(amount="7", timestamp=None))
    found = count_of(client)
    assert (found["count"], found["sum"], found["min"], found["max"], found["mean"]) == (2, "0.3", "0.1", "0.2", "0.15")
    stats = client.get("/api/stats").json
    assert (stats["processed"], stats["failed_open"]) == (2, 2)


def test_identities_of_two_clients_never_meet(make_client: Callable[..., ClientOf]) -> None:
    one, two = make_client(), make_client()
    assert one.send(event(id="1")).status == two.send(event(id="1", amount=3)).status == 201
    assert [each["amount"] for each in events_of(one)] == ["1200"]


def test_many_events_are_answered_one_by_one(client: ClientOf) -> None:
    answer = client.send(
        {"events": [event(id="a"), event(id="a"), event(id="b", amount="?"), 5, event(id="a", amount=1)]}
    )
    assert answer.status == 207
    said = answer.json
    assert [each["status"] for each in said["events"]] == ["processed", "duplicate", "failed", "failed", "failed"]
    assert (said["processed"], said["duplicates"], said["failed"]) == (1, 1, 3)
    assert client.send({"events": [event(id="a"), event(id="c")]}).status == 201
    assert client.send({"events": [event(id="a"), event(id="c")]}).status == 200
    assert client.send({"events": [5, {}]}).status == 422


def test_an_event_in_a_packed_body(client: ClientOf) -> None:
    packed = gzip.compress(json.dumps(event()).encode())
    assert client.send(packed, Content_Encoding="gzip").status == 201
    bomb = gzip.compress(b" " * 2_000_000)
    assert (client.send(bomb, Content_Encoding="gzip").status, len(bomb) < 10_000) == (413, True)
    assert client.send(packed, Content_Encoding="br").status == 415


def test_a_clients_mapping_acts_at_once_and_its_limits_too(served: Served, client: ClientOf) -> None:
    theirs = {"litros": "2,5", "cuando": {"fecha": "01.03.2024 10:15"}}
    assert client.send(theirs).status == 422
    settings = {
        "decimal_mark": ",",
        "mapping": {"fields": {"litros": "amount", "cuando.fecha": "timestamp"}, "defaults": {"metric": "agua"}},
        "most_events": 2,
        "most_bytes": 200,
    }
    assert served.person("PATCH", f"/api/clients/{client.client_id}", settings).status == 200
    answer = client.send(theirs)
    assert (answer.status, answer.json["event"]["amount"], answer.json["event"]["metric"]) == (201, "2.5", "agua")
    [closed] = failures_of(client, "processed")
    assert closed["event_seq"] == 1
    assert client.send({"events": [1, 2, 3]}).status == 413
    assert client.send(event(note="x" * 300)).status == 413
    wrong = served.person("PATCH", f"/api/clients/{client.client_id}", {"date_order": "ymd", "token_hash": "x"})
    assert (wrong.status, "date_order" in wrong.json["detail"], "token_hash" in wrong.json["detail"]) == (
        422,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"5", 422),
        (b"[]", 422),
        (b'{"a":1,"a":2}', 422),
        (b'{"a":"\\ud800"}', 422),
        (b"[" * 200_000, 422),
        (b'{"events":[' + b"1," * 1000 + b"1]}", 413),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_bodies_that_are_no_events_store_nothing(served: Served, client: ClientOf, body: bytes, status: int) -> None:
    before = served.rows()
    answer = client.send(body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert served.rows() == before


def test_nobody_without_a_token_stores_or_sees_anything(served: Served, client: ClientOf) -> None:
    client.send(event())
    before = served.rows()
    wrong = [
        {},
        {"Authorization": f"Bearer {client.client_id}.wrong"},
        {"Authorization": "Bearer c_nobody.x"},
        {"Authorization": f"Basic {client.token}"},
        {"Authorization": "Bearer " + "c_" + "\xe9" * 100},
        {"X-Signature": "v1=" + "0" * 64},
        {"X-Signature": ""},
    ]
    for headers in wrong:
        assert served.ask("POST", "/api/events", event(amount=9), headers).status == 401, headers
        for target in ("/api/events", "/api/failed-events", "/api/stats", "/api/aggregations", "/api/events.csv"):
            if "X-Signature" not in headers:
                assert served.ask("GET", target, None, headers).status == 401, (target, headers)
    assert served.rows() == before


def test_a_client_sees_its_own_events_only_and_changes_nothing(
    served: Served, make_client: Callable[..., ClientOf]
) -> None:
    one, two = make_client(), make_client()
    one.send(event())
    failed = one.send({}).json["event_id"]
    assert two.get(f"/api/events?client={one.client_id}").status == 403
    assert events_of(two) == failures_of(two) == []
    assert two.get(f"/api/failed-events/{failed}").status == 404
    assert two.get(f"/api/events/{one.client_id}/1").status == 404
    bearer = {"Authorization": f"Bearer {one.token}"}
    for target in (f"/api/failed-events/{failed}/reprocess", f"/api/failed-events/{failed}/dismiss"):
        assert served.ask("POST", target, {}, bearer).status == 401
    assert served.ask("GET", "/api/clients", None, bearer).status == 401
    assert [each["client_id"] for each in one.get("/api/stats").json["clients"]] == [one.client_id]


def test_a_revoked_client_is_refused_until_it_gets_a_new_token(served: Served, client: ClientOf) -> None:
    served.clients.revoke(client.client_id)
    assert client.send(event()).status == 403
    fresh = served.clients.new_token(client.client_id)
    assert client.send(event()).status == 401
    assert ClientOf(served, client.client_id, fresh.token).send(event()).status == 201


def test_a_person_may_send_for_a_client_but_only_as_json(served: Served, client: ClientOf) -> None:
    target = f"/api/events?client={client.client_id}"
    assert served.person("POST", target, event()).status == 201
    assert served.person("POST", "/api/events", event()).status == 403
    assert served.person("POST", "/api/events?client=c_nobody", event()).status == 404
    form = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "text/plain"}
    assert served.ask("POST", target, event(amount=1), form).status == 415
    trail = served.person("GET", f"/api/clients/{client.client_id}/log").json["log"]
    assert [each["detail"]["by"] for each in trail] == ["admin"]


def test_the_original_form_of_signing_stations(served: Served) -> None:
    document = {"events": [{"id": "e-1", "timestamp": 1_709_288_100, "volume": 0.25}, {"id": "e-2", "volume": 1}]}
    answer = served.signed("tap-original", json.dumps(document).encode())
    assert answer.status == 207
    assert "x-signature" in answer.headers
    [taken, failed] = answer.json["events"]
    assert (taken["event"]["amount"], taken["event"]["metric"], taken["event"]["station"]) == (
        "0.25",
        "volume",
        "tap-original",
    )
    assert failed["errors"] == [{"where": "timestamp", "what": "is missing"}]
    found = served.person("GET", "/api/events?station=tap-original").json["events"]
    assert [each["id"] for each in found] == ["e-1"]
    forged = served.signed("tap-forged", b"{}", **{"X-Signature": "v1=" + "0" * 64})
    assert (forged.status, "x-signature" in forged.headers) == (401, False)


def test_the_same_events_by_eight_threads_at_once_count_once(client: ClientOf) -> None:
    bodies = [
        {"events": [event(id=str(n), amount=f"0.{n + 1}") for n in range(start, start + 20)]} for start in (0, 10)
    ]
    answers: list[Answer] = []

    def send() -> None:
        answers.extend([client.send(body) for body in bodies])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 201}
    assert sum(answer.json["processed"] for answer in answers) == 30
    assert sum(answer.json["duplicates"] for answer in answers) == 8 * 40 - 30
    stored = events_of(client)
    assert sorted(int(each["id"]) for each in stored) == list(range(30))
    assert count_of(client)["count"] == 30
