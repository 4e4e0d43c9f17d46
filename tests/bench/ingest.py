"""How much the cloud takes with everything on: signature, ledger, rollups, the body kept, a signed answer, fsync."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aquasmart_station.core.conversation import Identity
from demo.site import Site

from .figures import Figure, Sizes, percentile
from .machines import NaiveServer, disk_bytes, site
from .senders import SENDERS, Result, Task, send_all

BUDGETS: dict[int, int] = {500: 500_000, 2_000: 1_500_000}
"""Rows per batch → events per second."""
P99_MS = 10
DISK_BYTES = 5
COMPARED = 500
"""Rows per batch at which disk and the naive server are compared."""
WARM_BATCHES = 20


def measure(sizes: Sizes) -> Iterator[Figure]:
    naive, naive_disk = _naive(sizes)
    with site() as place:
        identities = [_add_station(place, f"bench-{number}") for number in range(2, 2 + SENDERS)]
        place.start("cloud")
        _send(place, identities, 50, WARM_BATCHES * 50 * SENDERS)
        expected = place.totals()["stations"]
        for size, rows in sizes.ingest_rows.items():
            database = place.root / "cloud" / "cloud.db"
            before = disk_bytes(database)
            result = _send(place, identities, size, rows)
            yield Figure(
                f"ingest.batch_{size}", result.rows_per_s, "events/s", BUDGETS.get(size), at_least=True,
                reference=naive.rows_per_s, reference_is=f"naive server, a row per event, {COMPARED} a request",
            )  # fmt: skip
            yield Figure(
                f"ingest.batch_{size}_p99", percentile(result.latencies_ms, 99), "ms", P99_MS,
                reference=percentile(naive.latencies_ms, 99), reference_is="naive server",
            )  # fmt: skip
            if size == COMPARED:
                value = (disk_bytes(database) - before) / result.rows
                yield Figure(
                    "ingest.disk", value, "B/event", DISK_BYTES, reference=naive_disk, reference_is="naive server"
                )
        _balanced(place, expected, sum(sizes.ingest_rows.values()))


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
