"""`python -m tests.bench.million FOLDER ROWS…`: the reader's own stack in this process, through a million events.

Ring, group commit, housekeeping, diagnostics and display are the reader's; only the polling threads are left out, since
a million polls would take a day. Prints its resident memory in MB once each number of ROWS has been committed.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from uuid import uuid4

from aquasmart_station.adapters.board_sensors import BoardSensors
from aquasmart_station.adapters.clock import SystemClock
from aquasmart_station.adapters.live import LiveBoard
from aquasmart_station.adapters.log_keeper import LogKeeper
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.adapters.ops import OpsFile
from aquasmart_station.adapters.reserve import Reserve
from aquasmart_station.adapters.watchdog import SystemdWatchdog
from aquasmart_station.core.anomaly import Sensitivity
from aquasmart_station.core.model import Board
from aquasmart_station.core.ports import EventLog
from aquasmart_station.core.retention import DAY_MS
from aquasmart_station.services.adopting import Defaults, ReaderSettings, SettingsWatch
from aquasmart_station.services.diagnosing import Diagnoser
from aquasmart_station.services.housekeeping import Housekeeping
from aquasmart_station.services.polling import MeterPoller, Shelf
from aquasmart_station.services.reader import Reader
from aquasmart_station.services.swapping import MeterSwaps
from aquasmart_station.services.timekeeping import Timekeeper

from .water import drafts, stream_header

BOARD = Board("bench-1", "boot", "hw", "0")
GROUP = 500
FULL_ENOUGH = 1_000
"""Drafts that wait at most: 100 s of polling behind, as after a stalled disk."""


def no_meters(log: EventLog, shelf: Shelf) -> list[MeterPoller]:
    return []


def reader_on(
    folder: Path,
    shelf: Shelf,
    *,
    commit_interval_s: float = 0.01,
    make_pollers: Callable[[EventLog, Shelf], list[MeterPoller]] = no_meters,
) -> Reader:
    """The reader's parts as `wiring.reading` puts them together, without meters."""
    clock, log, sensitivity = SystemClock(), LogWriter(folder / "log.db"), Sensitivity()
    defaults = Defaults(
        commit_interval_s=commit_interval_s, idle_heartbeat_s=300, poll_hz=10, threshold=3.0, leak_after_s=1_800,
        slow_leak_after_s=1_800, stuck_after_s=10, no_flow_after_s=259_200, scales={},
    )  # fmt: skip
    return Reader(
        log=log,
        live=LiveBoard(folder / "live.db"),
        watchdog=SystemdWatchdog(),
        clock=clock,
        board=BOARD,
        shelf=shelf,
        house=Housekeeping(
            keeper=LogKeeper(folder / "log.db", budget_bytes=None, retention_ms=30 * DAY_MS),
            reserve=Reserve(folder),
            reasons=shelf.reasons,
            ring=shelf.ring,
            clock=clock,
        ),
        make_pollers=make_pollers,
        diagnoser=Diagnoser(
            board=BoardSensors(clock, folder),
            clock=clock,
            sensitivity=sensitivity,
            reasons=shelf.reasons,
            interval_s=3_600,
            supply_low_mv=4_750,
        ),
        timekeeper=Timekeeper(log, clock, BOARD.boot_id),
        new_id=uuid4,
        settings=ReaderSettings(SettingsWatch(OpsFile(folder / "ops.db"), clock.mono_ns), defaults, sensitivity),
        swaps=MeterSwaps(ops=OpsFile(folder / "ops.db"), log=log, clock=clock),
    )


def resident_mb() -> float:
    """Of this process, MB. Here, since whatever else is imported counts as the reader's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def feed(shelf: Shelf, reader: Reader, marks: list[int]) -> None:
    """Fill the ring as fast as it is emptied; print the memory at each mark, then stop the reader."""
    source, fed = drafts(stream_header()), 0
    for mark in marks:
        while fed < mark:
            with shelf.wake:
                room = len(shelf.ring) < FULL_ENOUGH
                if room:
                    shelf.ring.put(list(islice(source, GROUP)))
                    fed += GROUP
                    shelf.wake.notify()
            if not room:
                time.sleep(0.002)
        while len(shelf.ring):
            time.sleep(0.01)
        print(resident_mb(), flush=True)
    reader.stop()


def main(folder: str, *marks: str) -> int:
    shelf = Shelf(6_000)
    reader = reader_on(Path(folder), shelf)
    feeder = threading.Thread(target=feed, args=(shelf, reader, [int(mark) for mark in marks]))
    feeder.start()
    reader.run()
    feeder.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
