"""What the real writer, sync's mark and the check do, as functions that a process can be killed in (boundaries.py).

Each scene begins with what another function made of an empty folder.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft, Kind
from tests.integration.station.some_logs import NOON_MS, START, checker, drafts, flip, header, write_log

A, B, OWN = (UUID(int=n) for n in (101, 102, 103))


def _run_of(stream: UUID, opening: int, rows: int) -> list[Draft]:
    return drafts(replace(header(opening=opening), id=stream), rows, opening, NOON_MS)


def nothing(folder: str) -> None:
    """An empty folder."""


def open_new(folder: str) -> None:
    """The reader's first start: the file, its pragmas, its schema."""
    writer = LogWriter(Path(folder) / "log.db")
    writer.open()
    writer.close()


def open_after_a_cut(folder: str) -> None:
    """A start after a run that ended without warning: what it left open is closed."""
    writer = LogWriter(Path(folder) / "log.db")
    writer.open()
    writer.resume("tap-1")
    writer.close()


def one_run_cut(folder: str) -> None:
    """A log whose run was killed."""
    if os.fork() == 0:
        writer = LogWriter(Path(folder) / "log.db")
        writer.open()
        writer.append(_run_of(A, START, 5))
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()


def append_streams(folder: str) -> None:
    """A new stream with rows, more rows, a meterless row, and the next stream of the meter, which closes the first."""
    writer = LogWriter(Path(folder) / "log.db")
    writer.open()
    first = replace(header(), id=A)
    own = replace(header(None), id=OWN)
    writer.append([*drafts(first, 3, START, NOON_MS), Draft(own, Kind.BOOT, NOON_MS, 1, 0, data={"clock": "ntp"})])
    writer.append(drafts(first, 4, START + 9, NOON_MS + 1_000, Kind.VOLUME))
    writer.append([*_run_of(B, START + 21, 2), Draft(own, Kind.DIAGNOSTIC, NOON_MS, 2, 0)])
    writer.append([Draft(own, Kind.SHUTDOWN, NOON_MS, 3, 0)])
    writer.close()


def backlog(folder: str) -> None:
    """Runs of a meter, nothing acknowledged."""
    write_log(Path(folder) / "log.db", runs=2, rows=50, acknowledged=0)


def move_marks(folder: str) -> None:
    """Sync takes over and records two acknowledgements."""
    outbox = Outbox(Path(folder) / "log.db")
    outbox.take_over(1)
    outbox.look()
    for _ in range(2):
        lane = outbox.next_lane()
        assert lane is not None
        batch = outbox.batch(lane, 20)
        assert batch is not None
        outbox.move_mark(Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position), 5)
    outbox.close()


def damaged(folder: str) -> None:
    """A log with a damaged header page, and a -wal of rows that were never folded in."""
    log = Path(folder) / "log.db"
    write_log(log, runs=2, rows=50, acknowledged=30)
    one_run_on_top(folder)
    flip(log, *range(64))


def one_run_on_top(folder: str) -> None:
    if os.fork() == 0:
        writer = LogWriter(Path(folder) / "log.db")
        writer.open()
        writer.append(_run_of(A, START + 300, 5))
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()


def check(folder: str) -> None:
    """`aquasmart check`."""
    checker(Path(folder)).check()


SCENES: dict[str, tuple[Callable[[str], None], Callable[[str], None]]] = {
    "open and migrate": (nothing, open_new),
    "open after a cut": (one_run_cut, open_after_a_cut),
    "append": (nothing, append_streams),
    "move a mark": (backlog, move_marks),
    "check and salvage": (damaged, check),
}
"""Name: what is there before, and what is killed."""
