"""Whether what is there already makes the intake slower: rate and p99 with 0, 1, 10 (and 100) million events present.

Measured through HTTP by four senders, batches of 500. What is present is brought in by the store's own ingest function
(`recording.record_within`, many batches a transaction) from bodies as stations make and sign them, also 500 rows each:
the same tables, keys and indexes as if it had been sent. ROWS=100 goes to 100 million.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.recording import SignedBody, record_within
from aquasmart_station.core.conversation import Identity, signed_request

from .clouds import STORES, Cloud, served, why_not
from .figures import Figure, Sizes, percentile
from .senders import SENDERS, Request, Result, Task, signed_bodies

ROWS = 500
"""Per batch, of what is present and of what is measured."""
RUNS = 3
TIMES = 1.3
"""How many times slower it may be than with nothing there."""
MILLION = 1_000_000
TOGETHER = 100
"""Batches of one station in one transaction while filling."""
EACH_BATCHES = 2_000
"""Of one station: a million events, a good day at 10 Hz."""


@dataclass(frozen=True)
class Level:
    """What was measured with so many events present."""

    rate: float
    p99_ms: float
    cpu_us: float


def measure(sizes: Sizes) -> Iterator[Figure]:
    wanted = sizes.present_events
    if asked := os.environ.get("ROWS"):
        if not (asked.isascii() and asked.isdigit() and int(asked)):
            raise SystemExit(f"ROWS={asked}: say how many million events, as in ROWS=100")
        wanted = tuple(sorted({*wanted, int(asked) * MILLION}))
    for store in STORES:
        if reason := why_not(store):
            yield Figure(f"growth.{store}", None, "times", TIMES, why_not=reason)
            continue
        with served(store) as cloud:
            yield from _store(f"growth.{store}", cloud, wanted, sizes.growth_batches)


def _store(name: str, cloud: Cloud, wanted: Sequence[int], batches: int) -> Iterator[Figure]:
    senders = [cloud.add_station(f"bench-{number}") for number in range(2, 2 + SENDERS)]
    cloud.send(senders, 50, 20)
    empty = _measured(cloud, senders, batches)
    yield from _figures(f"{name}.0m", empty, empty)
    filler = _Filler(cloud)
    for events in wanted:
        present = filler.fill(events)
        level = _measured(cloud, senders, batches)
        if cloud.events() < events:
            raise AssertionError(f"{cloud.events():,} events are present, not {events:,}")
        label = f"{name}.{events // MILLION}m" if events >= MILLION else f"{name}.{events}"
        yield from _figures(label, level, empty)
        yield Figure(
            f"{label}_times", empty.rate / level.rate, "times slower", TIMES, reference=1, reference_is="nothing there"
        )
        yield Figure(
            f"{label}_p99_times", level.p99_ms / empty.p99_ms, "times slower", TIMES, reference=1,
            reference_is=f"nothing there; {present:,} events were filled in",
        )  # fmt: skip


def _figures(name: str, level: Level, empty: Level) -> Iterator[Figure]:
    there = "with nothing there"
    yield Figure(f"{name}", level.rate, "events/s", reference=empty.rate, reference_is=there)
    yield Figure(f"{name}_p99", level.p99_ms, "ms", reference=empty.p99_ms, reference_is=there)
    yield Figure(f"{name}_cpu", level.cpu_us, "µs/request", reference=empty.cpu_us, reference_is=there)


def _measured(cloud: Cloud, senders: Sequence[Identity], batches: int) -> Level:
    """The median of several short runs."""
    found: list[tuple[Result, float]] = [cloud.send(senders, ROWS, batches) for _ in range(RUNS)]
    return Level(
        statistics.median(result.rows_per_s for result, _ in found),
        statistics.median(percentile(result.latencies_ms, 99) for result, _ in found),
        statistics.median(cpu_us for _, cpu_us in found),
    )


class _Filler:
    """Brings in stations with a million events each until there are enough."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._stations = 0

    def fill(self, wanted: int) -> int:
        """At least so many events in all; how many were brought in now."""
        present, brought = self._cloud.events(), 0
        database = Database(self._cloud.url)
        try:
            while present + brought < wanted:
                batches = min(EACH_BATCHES, -(-(wanted - present - brought) // ROWS))
                self._station(database, batches)
                brought += batches * ROWS
        finally:
            database.close()
        return brought

    def _station(self, database: Database, batches: int) -> None:
        self._stations += 1
        identity = self._cloud.add_station(f"present-{self._stations}")
        bodies = signed_bodies(Task(0, ROWS, batches, identity, self._stations))
        for start in range(0, batches, TOGETHER):
            few = bodies[start : start + TOGETHER]
            database.write(lambda connection, few=few: _take(connection, identity, few), identity.station_id)  # type: ignore[misc]


def _take(connection: Connection, identity: Identity, few: Sequence[Request]) -> None:
    now_ms = time.time_ns() // 1_000_000
    for request in few:
        headers = signed_request(identity, request.target, request.body, now_ms, encoding=request.encoding).headers
        signed = SignedBody(
            identity.station_id, identity.key_id, now_ms, request.target, request.encoding, None, None,
            headers["X-Signature"], request.body,
        )  # fmt: skip
        record_within(connection, signed, decode_batch(inflate(request.body, request.encoding)), now_ms)
