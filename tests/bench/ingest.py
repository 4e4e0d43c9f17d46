"""How much the cloud takes with everything on: signature, ledger, rollups, the body kept, a signed answer, fsync.

On SQLite and on PostgreSQL in the same run, by one, four and eight senders; as deployed, and with another number of
server processes, so that the default stands beside what it was chosen from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .clouds import STORES, Cloud, served, why_not
from .figures import Figure, Sizes, percentile
from .machines import NaiveServer, disk_bytes
from .senders import SENDERS, Result, Task, send_all

BUDGETS: dict[int, int] = {500: 500_000, 2_000: 1_500_000}
"""Rows per batch → events per second, for four senders."""
P99_MS = 10
DISK_BYTES = 5
COMPARED = 500
"""Rows per batch at which disk, processes and the naive server are compared."""
WARM_BATCHES = 20
CROWDS = (SENDERS, 1, 8)


def measure(sizes: Sizes) -> Iterator[Figure]:
    naive, naive_disk = _naive(sizes)
    for store in STORES:
        name = "ingest" if store == "sqlite" else f"ingest.{store}"
        if reason := why_not(store):
            yield Figure(f"{name}.batch_{COMPARED}", None, "events/s", at_least=True, why_not=reason)
            continue
        with served(store) as cloud:
            yield from _store(name, cloud, sizes, naive, naive_disk)
        # One process where one for each core is usual, and the other way round.
        workers = max(2, os.cpu_count() or 1) if store == "sqlite" else 1
        with served(store, workers) as cloud:
            yield from _otherwise(f"{name}.workers_{workers}", cloud, sizes, naive)


def _store(name: str, cloud: Cloud, sizes: Sizes, naive: Result, naive_disk: float) -> Iterator[Figure]:
    """Every size by every number of senders; budgets are those of four."""
    identities = [cloud.add_station(f"bench-{number}") for number in range(2, 2 + max(CROWDS))]
    cloud.send(identities, 50, WARM_BATCHES)
    expected, sent = cloud.events(), 0
    for senders in CROWDS:
        for size, wanted in sizes.ingest_rows.items():
            before = cloud.disk_bytes() if size == COMPARED and senders == SENDERS else 0
            batches = max(1, wanted // (SENDERS * 2) // size)
            result, cpu_us = cloud.send(identities[:senders], size, batches)
            sent += result.rows
            figure, usual = f"{name}.batch_{size}", senders == SENDERS
            yield from _figures(figure if usual else f"{figure}.senders_{senders}", size, result, naive, usual=usual)
            if usual:
                yield Figure(
                    f"{figure}_cpu", cpu_us, "µs/request", reference=1e6 / naive.rows_per_s * COMPARED,
                    reference_is=f"naive server's time for {COMPARED} events, all told",
                )  # fmt: skip
            if before:
                value = (cloud.disk_bytes() - before) / result.rows
                yield Figure(
                    f"{name}.disk", value, "B/event", DISK_BYTES, reference=naive_disk, reference_is="naive server"
                )
    _balanced(cloud, expected, sent)


def _otherwise(name: str, cloud: Cloud, sizes: Sizes, naive: Result) -> Iterator[Figure]:
    """Four senders at a cloud with another number of processes: published, no budget."""
    identities = [cloud.add_station(f"bench-{number}") for number in range(2, 2 + SENDERS)]
    cloud.send(identities, 50, WARM_BATCHES)
    for size, wanted in sizes.ingest_rows.items():
        result, _ = cloud.send(identities, size, max(1, wanted // (SENDERS * 2) // size))
        yield from _figures(f"{name}.batch_{size}", size, result, naive, usual=False)


def _figures(name: str, size: int, result: Result, naive: Result, *, usual: bool) -> Iterator[Figure]:
    yield Figure(
        name, result.rows_per_s, "events/s", BUDGETS.get(size) if usual else None, at_least=True,
        reference=naive.rows_per_s, reference_is=f"naive server, a row per event, {COMPARED} a request",
    )  # fmt: skip
    yield Figure(
        f"{name}_p99", percentile(result.latencies_ms, 99), "ms", P99_MS if usual else None,
        reference=percentile(naive.latencies_ms, 99), reference_is="naive server",
    )  # fmt: skip


def _balanced(cloud: Cloud, before: int, sent: int) -> None:
    """A rate that lost something is none."""
    events = cloud.events() - before
    if events != sent:
        raise AssertionError(f"the cloud counts {events} events of {sent}")


def _naive(sizes: Sizes) -> tuple[Result, float]:
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name, NaiveServer(Path(name)) as server:
        batches = max(1, sizes.naive_ingest_rows // COMPARED // SENDERS)
        result = send_all([Task(server.port, COMPARED, batches, seed=seed) for seed in range(SENDERS)])
        return result, disk_bytes(server.database) / result.rows
