"""Operations: how fast they are queued beside a reader that commits at 10 Hz, and how fast they reach the cloud.

Seen from outside: the bench queues through the station's own file as the command does, and reads the states there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from aquasmart_station.adapters.operation_rows import enqueue
from aquasmart_station.adapters.ops import OpsFile
from demo.faults import canned
from demo.link import Relay
from demo.site import Site

from .figures import Figure, Sizes, percentile
from .machines import await_, free_port, resident_mb, site, steady_meter

LOOK_S = 0.005
DONE = "SELECT settled_at_ms - created_at_ms FROM operation WHERE state = 'done' AND id > ? ORDER BY id"


class Station:
    """A station that runs, behind a relay, and its ops.db."""

    def __init__(self, place: Site, relay: Relay) -> None:
        self.place, self.relay = place, relay
        self._path = place.root / "station" / "ops.db"
        self.ops = OpsFile(self._path)
        self.queued = 0

    def visit(self) -> float:
        """Queue one operation; how long that took, in ms."""
        began = time.perf_counter()
        with self.ops.writing() as connection:
            now_ms = time.time_ns() // 1_000_000
            visit = {"technician": "Ada", "note": "bench", "visited_at_ms": now_ms}
            self.queued = enqueue(connection, "service_visit", visit, now_ms)
        return (time.perf_counter() - began) * 1000

    def done_ms(self, after: int) -> list[float]:
        """From queued to done, for every operation beyond number `after` that is done."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as connection:
            return [float(took) for (took,) in connection.execute(DONE, (after,))]

    def await_done(self, after: int, many: int) -> list[float]:
        await_(f"{many} operations are done", lambda: len(self.done_ms(after)) >= many, LOOK_S)
        return self.done_ms(after)


def measure(sizes: Sizes) -> Iterator[Figure]:
    with _online() as station:
        yield from enqueued(station, sizes)
        yield from delivered(station, sizes)
        yield from retried(station, sizes)
        yield from burst(station, sizes)


def enqueued(station: Station, sizes: Sizes) -> Iterator[Figure]:
    """P5: durably queued while the reader commits at 10 Hz and sync delivers."""
    took_ms = []
    for _ in range(sizes.operations):
        took_ms.append(station.visit())
        time.sleep(0.01)
    station.await_done(0, sizes.operations)
    yield Figure("operations.enqueued_p99", percentile(took_ms, 99), "ms", 50)


def delivered(station: Station, sizes: Sizes) -> Iterator[Figure]:
    """P1: one at a time, online."""
    took_ms = []
    for _ in range(sizes.operations_singly):
        before = station.queued
        station.visit()
        took_ms += station.await_done(before, 1)
    yield Figure("operations.delivered_p95", percentile(took_ms, 95) / 1000, "s", 2)


def retried(station: Station, sizes: Sizes) -> Iterator[Figure]:
    """P6: the first attempt of each is answered by a proxy's 502."""
    took_ms = []
    for _ in range(sizes.operations_singly):
        before = station.queued
        station.relay.inject(canned(502), path="/v1/operations/")
        station.visit()
        took_ms += station.await_done(before, 1)
    yield Figure("operations.with_one_retry_p95", percentile(took_ms, 95) / 1000, "s", 5)


def burst(station: Station, sizes: Sizes) -> Iterator[Figure]:
    """P2, P3, P4: queued as fast as the station can, then delivered without pause; what sync's memory has grown by."""
    before, began = station.queued, time.perf_counter()
    sync = station.place.pid("sync")
    resident_before = resident_mb(sync)
    for _ in range(sizes.operations_burst):
        station.visit()
    queued_s = time.perf_counter() - began
    station.await_done(before, sizes.operations_burst)
    drained_s = time.perf_counter() - began
    thousand_s = queued_s * 1_000 / sizes.operations_burst
    yield Figure("operations.thousand_queued", thousand_s, "s", 10)
    yield Figure("operations.delivered_per_second", sizes.operations_burst / drained_s, "1/s", 10, at_least=True)
    yield Figure("operations.sync_growth_over_the_burst", resident_mb(sync) - resident_before, "MB", 4)


@contextlib.contextmanager
def _online() -> Iterator[Station]:
    port = free_port()
    overrides = {"reader": {"commit_interval_s": 0.1}}
    with Relay(0, port) as relay, site(meters=[steady_meter(1_000_000)], overrides=overrides) as place:
        place.cloud_port, place.station_url_port = port, relay.port
        place.provision()
        for name in place.names:
            place.start(name)
        ops = Path(place.root / "station" / "ops.db")
        await_("sync has made ops.db", ops.exists)
        station = Station(place, relay)
        try:
            yield station
        finally:
            station.ops.close()
