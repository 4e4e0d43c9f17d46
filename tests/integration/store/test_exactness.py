"""Exactly once, whatever happens at once: the same batches by eight senders to two workers, which are killed, and whose
database is killed. The sums are the test's own: counts it made up, priced by the contract's reference.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract import reference as ref
from tests.fakes.ports import free_port
from tests.integration.cloud.senders import NOW_MS, Run
from tests.integration.store.crowd import Crowd, Key, Message, Served, message, served
from tests.integration.store.stores import Store

BASE = 1_000_000
SENDERS = 8
BATCHES = 30
KILLS = 4


@pytest.fixture
def running(store: Store, tmp_path: Path) -> Iterator[Served]:
    with served(store, tmp_path, free_port()) as made:
        yield made


def streams(key: Key, chance: random.Random) -> tuple[list[list[Message]], int, int]:
    """Three runs of one meter: one whole, one rolled back into it, one that catches up. Messages, positions, rows."""
    whole = Run(BASE, at=NOW_MS - 3_600_000)
    restored = Run(BASE + 40, at=NOW_MS - 1_800_000)
    late = Run(BASE + 10, at=NOW_MS - 60_000)
    found = []
    for run, first in ((whole, None), (restored, None), (late, "catch_up")):
        messages = []
        for number in range(BATCHES):
            counts = [chance.choice((0, 1, 2, 7)) for _ in range(20)]
            rows = [{"row": 0, "kind": first}] if first and number == 0 else []
            rows += [{"row": 5, "kind": "pour", "data": {"ul": 7}}] if number % 5 == 0 else []
            messages.append(message(key, run.batch(counts, rows=rows)))
        found.append(messages)
    reach = max(run.position for run in (whole, restored, late))
    rows_sent = sum(each.rows for messages in found for each in messages)
    return found, reach, rows_sent


def orders(per_station: list[list[list[Message]]], chance: random.Random) -> list[list[Message]]:
    """What each sender sends: every stream in its order, streams and stations mixed anew, half of them crosswise."""
    lists = []
    for sender in range(SENDERS):
        queues = [list(messages) for found in per_station for messages in found]
        if sender % 2:
            queues.reverse()
        mixed = []
        while queues:
            queue = chance.choice(queues)
            mixed.append(queue.pop(0))
            if not queue:
                queues.remove(queue)
        lists.append(mixed)
    return lists


def expect_exact(running: Served, stations: dict[str, tuple[int, int]]) -> None:
    """Totals, rollups of every grain, ledger and counts agree to the microlitre with what was made up."""
    cloud = running.cloud
    cloud.assert_books_balance()
    for station_id, (reach, rows) in stations.items():
        measured = ref.volume_ul(BASE, reach, 20_000, 9)
        assert cloud.query("SELECT volume_ul, events FROM station WHERE station_id = ?", station_id) == [
            (measured, rows)
        ]
        covered = cloud.one("SELECT sum(to_counts - from_counts) FROM ledger_interval WHERE station_id = ?", station_id)
        assert covered == reach - BASE
        seqs = cloud.one("SELECT sum(through_seq - from_seq + 1) FROM batch WHERE station_id = ?", station_id)
        assert seqs == rows
        logged = cloud.one("SELECT count(*) = max(log_id) FROM processing_log WHERE station_id = ?", station_id)
        assert logged


def prepare(running: Served, chance: random.Random) -> tuple[list[list[Message]], dict[str, tuple[int, int]]]:
    made = {station_id: streams(running.key(station_id), chance) for station_id in ("cross-1", "cross-2")}
    expected = {station_id: (reach, rows) for station_id, (_, reach, rows) in made.items()}
    return orders([found for found, _, _ in made.values()], chance), expected


def test_the_same_batches_by_all_at_once_two_stations_crosswise(running: Served) -> None:
    lists, expected = prepare(running, random.Random(1))
    crowd = Crowd(running.site.cloud_port)
    crowd.send_all(lists)
    assert crowd.broken == 0, running.site.log_tail("cloud")
    assert crowd.inserted == sum(rows for _, rows in expected.values())
    expect_exact(running, expected)
    logged = running.cloud.one("SELECT count(*) FROM processing_log")
    assert logged == sum(len(messages) for messages in lists)


def test_workers_killed_under_load(running: Served, record_property: Callable[[str, object], None]) -> None:
    lists, expected = prepare(running, random.Random(2))
    crowd = Crowd(running.site.cloud_port)
    with disturbed(running.kill_a_worker) as happened:
        crowd.send_all(lists)
    expect_exact(running, expected)
    assert happened
    record_property("counted", f"workers killed {len(happened)} times, {crowd.broken} requests without an answer")


@pytest.mark.parametrize("store", [pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))], indirect=True)
def test_the_database_and_its_workers_killed_under_load(
    running: Served, store: Store, record_property: Callable[[str, object], None]
) -> None:
    def crash(number: int) -> bool:
        store.server.stop("immediate")
        running.kill_a_worker(number)
        store.server.start()
        return True

    lists, expected = prepare(running, random.Random(3))
    crowd = Crowd(running.site.cloud_port)
    with disturbed(crash) as happened:
        crowd.send_all(lists)
    expect_exact(running, expected)
    assert happened
    record_property("counted", f"PostgreSQL crashed {len(happened)} times, {crowd.broken} requests without an answer")


class disturbed:  # noqa: N801  (a context manager, used like a function)
    """Does something terrible every now and then while its block runs; gives the moments at which it did."""

    def __init__(self, what: Callable[[int], bool]) -> None:
        self._what = what
        self._over = threading.Event()
        self._happened: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self._happened

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        chance = random.Random(4)
        for number in range(KILLS):
            if self._over.wait(0.3 + chance.random()):
                return
            if self._what(number):
                self._happened.append(time.monotonic())
