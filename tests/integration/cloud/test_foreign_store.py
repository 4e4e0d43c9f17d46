"""The intake's transaction on a store: taken once, kept when unreadable, corrected, added up, known for ever."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid5

from werkzeug.test import TestResponse

from aquasmart_cloud.core.model import Scale
from aquasmart_cloud.store.clients import Clients
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run

PERSON = {"Authorization": "Bearer correct-horse-battery-staple"}


def event(**changes: Any) -> dict[str, Any]:
    return {"metric": "sale", "amount": 1200, "timestamp": "2024-03-01T10:15:00Z"} | changes


class Client:
    """A client of the cloud under test."""

    def __init__(self, cloud: CloudUnderTest, name: str = "acme") -> None:
        self.cloud = cloud
        new = Clients(cloud.database).add(name, cloud.now_ms)
        self.client_id, self.headers = new.client_id, {"Authorization": f"Bearer {new.token}"}

    def send(self, body: Any) -> TestResponse:
        return self.cloud.app.test_client().post("/api/events", json=body, headers=self.headers)

    def get(self, target: str) -> Any:
        return self.cloud.app.test_client().get(target, headers=self.headers).json


def person(cloud: CloudUnderTest, target: str, body: Any) -> TestResponse:
    return cloud.client.post(target, json=body, headers=PERSON)


def test_events_are_taken_once_and_added_up(cloud: CloudUnderTest) -> None:
    client = Client(cloud)
    events = [
        event(id=str(number), amount=f"0.{number + 1}", timestamp=1_709_288_100 + number * 600) for number in range(30)
    ]
    first = client.send(
        {"events": [*events, event(), event(amount="$1,200.0", metric=" SALE "), {}, event(id="3", amount=9)]}
    )
    assert first.status_code == 207
    assert (first.json["processed"], first.json["duplicates"], first.json["failed"]) == (31, 1, 2)
    again = client.send({"events": [*events, event()]})
    assert (again.status_code, again.json["duplicates"]) == (200, 31)
    [whole] = client.get("/api/aggregations")["groups"]
    assert (whole["count"], whole["min"], whole["max"]) == (31, "0.1", "1200")
    hours = client.get("/api/aggregations?group_by=hour,metric&from=2024-03-01T10:00&to=2024-03-02")["groups"]
    assert sum(each["count"] for each in hours) == 31
    assert client.get("/api/stats")["failed_open"] == 2


def test_pages_and_filters(cloud: CloudUnderTest) -> None:
    client = Client(cloud)
    client.send(
        {"events": [event(id=str(n), metric=f"m{n % 2}", timestamp=1_709_288_100 + 60 * (50 - n)) for n in range(50)]}
    )
    found, cursor = [], ""
    while True:
        page = client.get(f"/api/events?limit=7{cursor}")
        found += [each["id"] for each in page["events"]]
        if page["next"] is None:
            break
        cursor = f"&after={page['next']}"
    assert found == [str(n) for n in reversed(range(50))]
    assert len(client.get("/api/events?metric=M1&limit=1000")["events"]) == 25
    shown = client.get(f"/api/events/{client.client_id}/1")
    assert shown["original"]["id"] == "0"
    assert cloud.client.get("/api/events.jsonl", headers=client.headers).data.count(b"\n") == 50


def test_failures_are_kept_once_corrected_and_dismissed(cloud: CloudUnderTest) -> None:
    client = Client(cloud)
    bad = [client.send(event(amount=amount, note="a\x00b")).json["event_id"] for amount in ("?", "?", "0")]
    assert bad[0] == bad[1] != bad[2]
    done = person(cloud, f"/api/failed-events/{bad[0]}/reprocess", {"event": event(amount=5)})
    assert (done.status_code, done.json["status"]) == (201, "processed")
    assert client.send(event(amount="?", note="a\x00b")).json["event_id"] == done.json["event_id"]
    assert person(cloud, f"/api/failed-events/{bad[2]}/dismiss", {"reason": "a test"}).status_code == 200
    assert person(cloud, f"/api/failed-events/{bad[2]}/dismiss", {"reason": "again"}).status_code == 409
    assert client.get("/api/failed-events")["events"] == []
    states = [each["state"] for each in client.get("/api/failed-events?state=all")["events"]]
    assert states == ["processed", "dismissed"]
    trail = cloud.client.get(f"/api/clients/{client.client_id}/log", headers=PERSON).json["log"]
    assert [each["action"] for each in trail][:2] == ["failed-event-dismissed", "failed-event-edited"]


def test_the_same_events_at_once_and_crosswise_count_once(cloud: CloudUnderTest) -> None:
    one, two = Client(cloud, "one"), Client(cloud, "two")
    forwards = {"events": [event(id=str(n), amount=n + 1) for n in range(20)]}
    backwards = {"events": list(reversed(forwards["events"]))}
    statuses: list[int] = []

    def send(first: Client, second: Client, body: Any) -> None:
        statuses.extend([client.send(body).status_code for client in (first, second) * 3])
        cloud.app.extensions["aquasmart"].database.close()  # this thread's connection

    threads = [
        threading.Thread(target=send, args=args)
        for args in ((one, two, forwards), (two, one, backwards), (one, two, backwards), (two, one, forwards))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 201}
    for client in (one, two):
        assert [(each["count"], each["sum"]) for each in client.get("/api/aggregations")["groups"]] == [(20, "210")]


def test_clients_are_changed_and_revoked(cloud: CloudUnderTest) -> None:
    client = Client(cloud)
    clients = Clients(cloud.database)
    clients.change(client.client_id, {"date_order": "mdy", "mapping": {"fields": {"sum_of_it": "amount"}}})
    taken = client.send({"metric": "x", "sum_of_it": 5, "timestamp": "03/13/2024"})
    assert (taken.status_code, taken.json["event"]["timestamp"]) == (201, "2024-03-13T00:00:00Z")
    assert [each.client_id for each in clients.all()] == [client.client_id]
    clients.revoke(client.client_id)
    assert client.send(event()).status_code == 403


def test_the_stations_own_events_are_paged_from_their_batches(cloud: CloudUnderTest) -> None:
    sent: dict[str, list[tuple[int, int]]] = {}
    for station_id in ("tap-1", "tap-2"):
        sender = cloud.station(station_id)
        runs = [Run(1_000_000), Run(1_000_000, at=NOW_MS - 55_000)]
        for _ in range(5):
            for run in runs:
                sender.take(run.batch([1, 2, 3], rows=[{"row": 1, "kind": "pour", "data": {"ul": 7}}]))
        sent[station_id] = sorted(
            (seq, 1_000_000 + 6 * (seq // 3) + (0, 1, 3)[seq % 3]) for run in runs for seq in range(1, run.seq)
        )
    for limit in (4, 1000):
        found, cursor = list[dict[str, Any]](), ""
        while True:
            page = cloud.client.get(f"/api/events?of=stations&limit={limit}{cursor}", headers=PERSON).json
            found += page["events"]
            if page["next"] is None:
                break
            cursor = f"&after={page['next']}"
        assert len({each["event_id"] for each in found}) == len(found) == 60
        for station_id, rows in sent.items():
            assert sorted((e["seq"], e["counts"]) for e in found if e["station_id"] == station_id) == rows
    assert {each["kind"] for each in found} == {"volume", "pour"}
    booked = Scale(*cloud.query("SELECT ul_num, den FROM stream LIMIT 1")[0])
    assert sum(each["volume_ul"] for each in found) == 4 * booked.volume_ul(1_000_000, 1_000_030)
    [first] = [each for each in found if (each["station_id"], each["kind"], each["seq"]) == ("tap-1", "pour", 2)][:1]
    assert (first["data"], first["event_id"]) == ({"ul": 7}, str(uuid5(UUID(first["stream"]), "2")))
    one = cloud.client.get(f"/api/events?of=stations&station=tap-2&to={NOW_MS - 55_000}", headers=PERSON).json["events"]
    assert {each["station_id"] for each in one} == {"tap-2"}
    assert len(one) == 15
    lines = cloud.client.get("/api/events.csv?of=stations", headers=PERSON).text.splitlines()
    assert len(lines) == 61
    assert cloud.client.get("/api/events?of=stations&metric=x", headers=PERSON).status_code == 422
    assert cloud.client.get("/api/events?of=stations&after=x", headers=PERSON).status_code == 422
    assert Client(cloud).get("/api/events?of=stations")["code"] == "forbidden"
