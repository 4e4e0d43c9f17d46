"""The units' WatchdogSec against what the services may have to wait for: every deadline is below half of it."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

import pytest

from demo.site import REPOSITORY
from tests.fakes.supervisor import Supervisor
from tests.integration.world import World, eventually

HELD_S = 22.0
"""Above four times the station's own patience with a log that somebody else holds."""


def watchdog_s(service: str) -> float:
    unit = (REPOSITORY / "systemd" / f"aquasmart-{service}.service").read_text()
    found = re.search(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.e2e
def test_a_log_that_somebody_else_holds_kills_nobody(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.stop("reader")
    with Supervisor(world.site, "reader") as reader, Supervisor(world.site, "sync") as sync:
        for service in (reader, sync):
            service.await_message("WATCHDOG=1", 60)
        eventually(lambda: world.log.pending() == 0, "everything delivered")
        with closing(sqlite3.connect(world.log.path, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(HELD_S)
            other.execute("ROLLBACK")
        eventually(lambda: world.log.pending() == 0, "everything delivered again")
        for service, name in ((reader, "reader"), (sync, "sync")):
            longest_s = max(later - earlier for earlier, later in pairwise(service.petted_s))
            assert longest_s < watchdog_s(name) / 2, f"{name}: {longest_s:.1f} s without a word"
            assert service.stop() == 0
