"""A great deal that waits: sync's memory does not grow with it (rows X1, P9 of the matrix)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from aquasmart_station.adapters.operation_rows import enqueue
from aquasmart_station.adapters.ops import OpsFile
from tests.bench.machines import resident_mb
from tests.integration.backlog import write_backlog
from tests.integration.outpost import Execed, Outpost
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e
MakeOutpost = Callable[..., Outpost]
NOISE_MB = 6.0
"""What two starts of one process differ by, and a batch of 2,000 rows in the making."""


def peak_mb(outpost: Outpost, *, events: int, operations: int) -> float:
    """Sync's highest resident memory while so much waits without a cloud, and then while it drains."""
    write_backlog(outpost, events=events, streams=4)
    ops = OpsFile(outpost.root / "station" / "ops.db")
    now_ms = time.time_ns() // 1_000_000
    with ops.writing() as connection:
        for number in range(operations):
            visit = {"technician": "Ada", "note": f"visit {number}", "visited_at_ms": now_ms}
            enqueue(connection, "service_visit", visit, now_ms)
    ops.close()
    outpost.relay.set_state("cut")
    outpost.start("sync")
    eventually(lambda: outpost.said().get("failures", 0) >= 2, "two attempts without a cloud")
    assert outpost.said()["pending"] == events
    outpost.relay.set_state("pass")
    outpost.await_delivered()
    return resident_mb(outpost.process("sync").pid, peak=True)


def test_x1_ten_thousand_operations_and_a_hundred_thousand_events_cost_no_memory(make_outpost: MakeOutpost) -> None:
    few = peak_mb(make_outpost(record=0, launcher=Execed), events=4_000, operations=10)
    many = peak_mb(make_outpost(record=0, launcher=Execed), events=100_000, operations=10_000)
    assert many <= few + NOISE_MB, (few, many)
