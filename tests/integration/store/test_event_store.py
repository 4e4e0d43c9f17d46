"""Bodies as the event store and the audit trail: every event read back once, every signature checked again."""

from __future__ import annotations

import json

from aquasmart_cloud.store.events import events, still_verifies
from aquasmart_cloud.store.partitions import let_go
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run, Sender

BASE = 1_000_000


def test_every_event_is_read_back_once(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    first = run.batch([1, 2], rows=[{"row": 1, "kind": "pour", "data": {"ul": 7}}], flags=[[1, 4]])
    sender.take(first, packed=True)
    straddling = first | {"counts": [1, 2, 9], "dt": [0, 100, 100]}
    straddling["rows"] = [*first["rows"], {"row": 2, "kind": "gap", "seqs": 3}]
    sender.take(straddling)
    found = list(events(cloud.database, "demo-1", 0, NOW_MS * 2))
    at = NOW_MS - 60_000
    assert [event[1:] for event in found] == [
        (1, 1, at, first["at_mono"], "volume", 0, BASE + 1, None),
        (2, 1, at + 100, first["at_mono"] + 100, "pour", 4, BASE + 3, '{"ul":7}'),
        (5, 3, at + 200, first["at_mono"] + 200, "gap", 4, BASE + 12, None),
    ]
    assert [event.seq for event in events(cloud.database, "demo-1", at + 100, at + 200)] == [2]
    assert list(events(cloud.database, "demo-2", 0, NOW_MS * 2)) == []


def test_believed_times_are_the_same_when_read_again(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(Run(BASE).batch([1, 1], at=5))
    cloud.now_ms += 86_400_000
    assert [event.at for event in events(cloud.database, "demo-1", 0, NOW_MS * 2)] == [NOW_MS - 100, NOW_MS]
    assert cloud.query("SELECT at_from, at_to, believed_shift_ms FROM batch") == [(NOW_MS - 100, NOW_MS, NOW_MS - 105)]


def test_a_stored_signature_holds_years_later_and_not_for_other_bytes(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    stream = run.header["id"].replace("-", "")
    sender.take(run.batch([1, 2]), packed=True)
    body = b'{"meta":{"trace_id":"' + b"a" * 32 + b'"}}'
    assert sender.request(body).status_code == 422
    cloud.stations.revoke("demo-1", None, cloud.now_ms)
    assert still_verifies(cloud.database, cloud.stations, "demo-1", stream, 1)
    assert not still_verifies(cloud.database, cloud.stations, "demo-1", stream, 2)
    with cloud.database.writing() as connection:
        connection.execute("UPDATE batch SET timestamp_ms = timestamp_ms + 1")
    assert not still_verifies(cloud.database, cloud.stations, "demo-1", stream, 1)


def test_signed_headers_that_ingest_does_not_use_are_kept_for_the_audit(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    body = json.dumps(run.batch([1])).encode()
    extra = {"Idempotency-Key": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "If-Match": '"7"'}
    assert sender.request(body, target="/v1/ingest?x=1", extra=extra).status_code == 200
    assert still_verifies(cloud.database, cloud.stations, "demo-1", run.header["id"].replace("-", ""), 1)


def test_a_stream_of_many_batches_costs_few_bytes(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    for _ in range(10):
        sender.take(run.batch([5, 6, 6, 7] * 125), packed=True)
    size = cloud.one("SELECT sum(length(body) + length(signature)) FROM batch")
    assert size / 5_000 < 2


def test_more_batches_than_a_page_holds_are_read_in_order_and_once(cloud: CloudUnderTest, sender: Sender) -> None:
    runs = [Run(BASE, at=NOW_MS - 60_000), Run(BASE + 500, at=NOW_MS - 60_000)]
    for _ in range(55):
        for run in runs:
            sender.take(run.batch([1, 1]))
    found = list(events(cloud.database, "demo-1", 0, NOW_MS * 2))
    assert len(found) == len({(event.stream, event.seq) for event in found}) == 220
    for run in runs:
        assert [event.seq for event in found if event.stream == run.header["id"].replace("-", "")] == [*range(1, 111)]


def test_old_months_go_only_when_told_and_count_nothing_again(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(BASE)
    batches = [run.batch([1, 2], rows=[{"row": 0, "kind": "pour", "data": {"ul": 7}}]) for _ in range(3)]
    for batch in batches[:2]:
        sender.take(batch)
    cloud.now_ms += 70 * 86_400_000
    sender.take(batches[2] | {"at": cloud.now_ms - 1_000})
    assert let_go(cloud.database, 3, cloud.now_ms) == {"batch": 0, "notable": 0}
    assert let_go(cloud.database, 1, cloud.now_ms) == {"batch": 2, "notable": 2}
    assert let_go(cloud.database, 1, cloud.now_ms) == {"batch": 0, "notable": 0}
    before = cloud.stored()
    for batch in batches:
        assert sender.take(batch)["inserted"] == 0
    assert cloud.stored() == before
    assert before["batch"] == 1
    cloud.assert_books_balance()
