"""A log with its three users for tests: the reader's writer and keeper, and sync's outbox."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from aquasmart_station.adapters.log_keeper import LogKeeper
from aquasmart_station.adapters.log_lanes import Lane
from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.encoding import Batch
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from aquasmart_station.core.retention import DAY_MS

AT_MS = 1_763_676_000_000
START = 1_000_000


def header(meter_id: str | None = "tap-1", opening: int = START) -> StreamHeader:
    meterless = meter_id is None
    return StreamHeader(
        uuid4(), meter_id, None, False, None if meterless else uuid4(), 0 if meterless else START, None,
        0 if meterless else opening, None if meterless else Scale(20_000, 9), AT_MS, "boot", None, "hw", "0", "ntp",
    )  # fmt: skip


def volumes(of: StreamHeader, first: int, many: int, every_ms: int = 100, after_ms: int = 0) -> list[Draft]:
    """Drafts of one count each, from position `first` on."""
    return [
        Draft(of, Kind.VOLUME, AT_MS + after_ms + n * every_ms, after_ms + n * every_ms, first + n) for n in range(many)
    ]


class Bench:
    """A log with its writer, its keeper and its sync side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = LogWriter(path)
        self.writer.open()
        self.keeper = LogKeeper(path, budget_bytes=None, retention_ms=30 * DAY_MS)
        self.keeper.open()
        self.outbox = Outbox(path)
        self.outbox.take_over(1)

    def close(self) -> None:
        for each in (self.outbox, self.keeper, self.writer):
            each.close()

    def lane(self, number: int = 1) -> Lane:
        self.outbox.look()
        return self.outbox.lanes[number]

    def acknowledge(self, seq: int, number: int = 1) -> None:
        lane = self.lane(number)
        place = self.outbox.position_of(lane, seq)
        assert place is not None
        self.outbox.move_mark(Mark(number, seq, place[1], place[0]), 5)

    def prune(self, *, now_ms: int = 0, pressed: bool = True) -> None:
        while self.keeper.prune(cutoff_ms=now_ms - 30 * DAY_MS, pressed=pressed):
            pass

    def thin(self, step_ms: int) -> None:
        while self.keeper.thin(step_ms):
            pass

    def rows(self) -> list[tuple[int, int, int, int, int]]:
        """(stream, seq, seqs, kind, counts) of what is in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT stream, seq, seqs, kind, counts FROM event ORDER BY position").fetchall()

    def batch(self, number: int = 1, most: int = 10_000) -> Batch:
        batch = self.outbox.batch(self.lane(number), most)
        assert batch is not None
        return batch


def lengthen(path: Path, size: int) -> None:
    """Bring the write-ahead log to about `size` in one transaction: rows would take minutes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS somebody_elses (content)")
        other.execute("INSERT INTO somebody_elses VALUES (zeroblob(?))", (size,))
