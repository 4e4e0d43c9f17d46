"""Operations: queued beside a reader that commits ten times a second, delivered online, with a retry, in a burst.

The real processes; operations are queued as the command line does, in this process, and their state is read from
ops.db every few milliseconds. The rows P1 to P9 of the specification's performance table.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aquasmart_station.adapters.operation_rows import enqueue
from aquasmart_station.adapters.ops import OpsFile
from demo import faults
from demo.link import Relay
from demo.site import Site
from tests.fakes.ports import free_port

from .figures import Figure, Sizes, percentile
from .machines import await_, resident_mb, steady_meter

LOOK_S = 0.004
LANE = "/v1/operations"


def measure(sizes: Sizes) -> Iterator[Figure]:
    with _site() as (place, relay):
        ops = OpsFile(place.root / "station" / "ops.db")
        try:
            yield from _measure(place, relay, ops, sizes)
        finally:
            ops.close()


def _measure(place: Site, relay: Relay, ops: OpsFile, sizes: Sizes) -> Iterator[Figure]:
    bare_ms = percentile([_bare_sync_ms(place.root) for _ in range(50)], 99)
    words = "a bare write and fdatasync on the same disk, p99"
    online = [_until_done_ms(ops) for _ in range(sizes.operation_samples)]
    retried = []
    for _ in range(sizes.operation_samples):
        relay.inject(faults.canned(500, b"oops"), path=LANE)
        retried.append(_until_done_ms(ops))
    yield _ms("operations.online_p95", percentile(online, 95), 2_000, bare_ms, words)
    yield _ms("operations.one_retry_p95", percentile(retried, 95), 5_000, bare_ms, words)

    memory_mb = resident_mb(place.pid("sync"))
    relay.set_state("cut")
    began = time.monotonic()
    queued = [_queue(ops)[1] for _ in range(sizes.operations)]
    queued_s = time.monotonic() - began
    yield _ms("operations.enqueue_p99", percentile(queued, 99), 50, bare_ms, words)
    yield Figure(
        "operations.burst_queued",
        queued_s * 1_000 / sizes.operations,
        "s/1,000",
        10,
        reference=1_000 * bare_ms / 1_000,
        reference_is="as many bare writes",
    )
    looked = [_look_up_ms(ops, number) for number in range(1, sizes.operations, max(1, sizes.operations // 200))]
    yield _ms("operations.key_look_up_p99", percentile(looked, 99), 10, bare_ms, words)
    relay.set_state("pass")
    began = time.monotonic()
    await_("the burst is delivered", lambda: _pending(ops) == 0, every_s=0.05)
    rate = sizes.operations / (time.monotonic() - began)
    yield Figure(
        "operations.per_second",
        rate,
        "1/s",
        10,
        at_least=True,
        reference=1_000 / bare_ms,
        reference_is="bare writes a second at their p99; from the moment the link is back, backoff included",
    )
    grown_mb = max(0.001, resident_mb(place.pid("sync")) - memory_mb)
    yield Figure(
        "operations.memory_grown",
        grown_mb,
        "MB",
        5,
        reference=memory_mb,
        reference_is="sync's memory before the burst",
    )


def _ms(name: str, value: float, budget: float, reference: float, words: str) -> Figure:
    return Figure(name, value, "ms", budget, reference=reference, reference_is=words)


@contextlib.contextmanager
def _site() -> Iterator[tuple[Site, Relay]]:
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name:
        port = free_port()
        relay = Relay(0, port)
        relay.start()
        made = Site(
            Path(name),
            cloud_port=port,
            station_url_port=relay.port,
            station_id="bench-1",
            meters=[steady_meter(1_000_000)],
            overrides={"reader": {"commit_interval_s": 0.1}},
        )
        made.provision()
        try:
            made.start_all()
            await_("ops.db is there", (made.root / "station" / "ops.db").exists)
            await_("the reader commits", (made.root / "station" / "log.db").exists)
            time.sleep(2.0)
            yield made, relay
        finally:
            made.stop_all()
            relay.stop()


def _queue(ops: OpsFile) -> tuple[int, float]:
    """Queue one durably; its number and how long that took."""
    now_ms = time.time_ns() // 1_000_000
    visit = {"technician": "Ada", "note": "swapped the filter", "visited_at_ms": now_ms}
    began = time.perf_counter()
    with ops.writing() as connection:
        number = enqueue(connection, "service_visit", visit, now_ms)
    return number, (time.perf_counter() - began) * 1000


def _until_done_ms(ops: OpsFile) -> float:
    began = time.perf_counter()
    number, _ = _queue(ops)
    await_("the operation is done", lambda: _state(ops, number) == "done", every_s=LOOK_S)
    return (time.perf_counter() - began) * 1000


def _state(ops: OpsFile, number: int) -> str:
    with ops.reading() as connection:
        return str(connection.execute("SELECT state FROM operation WHERE id = ?", (number,)).fetchone()[0])


def _pending(ops: OpsFile) -> int:
    with ops.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM operation WHERE state = 'pending'").fetchone()[0])


def _look_up_ms(ops: OpsFile, number: int) -> float:
    """One idempotency key among all that are kept."""
    with ops.reading() as connection:
        key = connection.execute("SELECT idempotency_key FROM operation WHERE id = ?", (number,)).fetchone()[0]
        began = time.perf_counter()
        found = connection.execute("SELECT id FROM operation WHERE idempotency_key = ?", (key,)).fetchone()
        took_ms = (time.perf_counter() - began) * 1000
    if found[0] != number:
        raise sqlite3.IntegrityError(f"key {key} is of operation {found[0]}, not {number}")
    return took_ms


def _bare_sync_ms(folder: Path) -> float:
    began = time.perf_counter()
    with (folder / "bare").open("ab") as file:
        file.write(bytes(512))
        file.flush()
        os.fdatasync(file.fileno())
    return (time.perf_counter() - began) * 1000
