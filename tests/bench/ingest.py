"""How much the cloud takes with everything on: signature, ledger, rollups, the body kept, a signed answer, fsync.

On SQLite and on PostgreSQL in the same run, the server's own settings as Debian has them, its files on the disk.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from aquasmart_station.core.conversation import Identity
from demo.site import Site
from tests.capabilities import missing
from tests.fakes.postgres import Postgres

from .figures import Figure, Sizes, percentile
from .machines import NaiveServer, disk_bytes, site
from .senders import SENDERS, Result, Task, send_all

BUDGETS: dict[int, int] = {500: 500_000, 2_000: 1_500_000}
"""Rows per batch → events per second, for four senders."""
P99_MS = 10
DISK_BYTES = 5
COMPARED = 500
"""Rows per batch at which disk and the naive server are compared."""
WARM_BATCHES = 20
CROWDS = (SENDERS, 1, 8)


def measure(sizes: Sizes) -> Iterator[Figure]:
    naive, naive_disk = _naive(sizes)
    with site() as place:
        database = place.root / "cloud" / "cloud.db"
        yield from _store("ingest", place, sizes, naive, naive_disk, lambda: disk_bytes(database))
    if why_not := missing(("postgresql",)):
        yield Figure("ingest.postgresql.batch_500", None, "events/s", BUDGETS[COMPARED], at_least=True, why_not=why_not)
        return
    with postgresql() as url, site(cloud_settings={"AQUASMART_DATABASE_URL": url}) as place:
        yield from _store("ingest.postgresql", place, sizes, naive, naive_disk, lambda: _server_bytes(url))


def _store(
    name: str, place: Site, sizes: Sizes, naive: Result, naive_disk: float, disk: Callable[[], int]
) -> Iterator[Figure]:
    """Every size by every number of senders; budgets are those of four."""
    identities = [_add_station(place, f"bench-{number}") for number in range(2, 2 + max(CROWDS))]
    place.start("cloud")
    _send(place, identities, 50, WARM_BATCHES * 50 * len(identities))
    expected, sent = place.totals()["stations"], 0
    for senders in CROWDS:
        for size, wanted in sizes.ingest_rows.items():
            before = disk() if size == COMPARED and senders == SENDERS else 0
            result = _send(place, identities[:senders], size, wanted * senders // (SENDERS * 2))
            sent += result.rows
            figure, usual = f"{name}.batch_{size}", senders == SENDERS
            figure += "" if usual else f".senders_{senders}"
            yield Figure(
                figure, result.rows_per_s, "events/s", BUDGETS.get(size) if usual else None, at_least=True,
                reference=naive.rows_per_s, reference_is=f"naive server, a row per event, {COMPARED} a request",
            )  # fmt: skip
            yield Figure(
                f"{figure}_p99", percentile(result.latencies_ms, 99), "ms", P99_MS if usual else None,
                reference=percentile(naive.latencies_ms, 99), reference_is="naive server",
            )  # fmt: skip
            if before:
                value = (disk() - before) / result.rows
                yield Figure(
                    f"{name}.disk", value, "B/event", DISK_BYTES, reference=naive_disk, reference_is="naive server"
                )
    _balanced(place, expected, sent)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    server = Postgres(on_disk=True)
    try:
        server.make()
        yield server.url(server.fresh())
    finally:
        server.destroy()


def _server_bytes(url: str) -> int:
    """What the database occupies, indexes and all; its WAL is re-used for ever and not counted."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return int(found[0])


def _send(place: Site, identities: list[Identity], size: int, rows: int) -> Result:
    batches = max(1, rows // size // len(identities))
    tasks = [Task(place.cloud_port, size, batches, identity, seed) for seed, identity in enumerate(identities)]
    return send_all(tasks)


def _balanced(place: Site, before: list[dict[str, int]], sent: int) -> None:
    """A rate that lost something is none."""
    events = sum(row["events"] for row in place.totals()["stations"]) - sum(row["events"] for row in before)
    if events != sent:
        raise AssertionError(f"the cloud counts {events} events of {sent}")


def _naive(sizes: Sizes) -> tuple[Result, float]:
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name, NaiveServer(Path(name)) as server:
        batches = max(1, sizes.naive_ingest_rows // COMPARED // SENDERS)
        result = send_all([Task(server.port, COMPARED, batches, seed=seed) for seed in range(SENDERS)])
        return result, disk_bytes(server.database) / result.rows


def _add_station(place: Site, station_id: str) -> Identity:
    made = json.loads(place.cloud("station", "add", station_id, "--json"))
    return Identity(station_id, made["key_id"], "0.1.0", bytes.fromhex(made["key"]))
