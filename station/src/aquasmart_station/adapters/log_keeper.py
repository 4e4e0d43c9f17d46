"""Keeping log.db within its bounds: pruning what the cloud has, merging what it has not. In the reader's thread.

Every change is one transaction of at most 500 rows, between two commits of the reader. The marks are read again inside
it: sync may have rewound one. No other process changes events, so what is read here stays until we change it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.merging import Found, Thinning, ThinningPass
from ..core.model import Row
from ..core.phrases import Phrase
from ..core.retention import DiskUse, Limits, may_prune
from .log_file import open_log, rolled_back, trouble
from .log_rows import row_crc32_of, sound_row
from .log_space import disk_use, limits

ROWS_AT_ONCE = 500
"""How many rows one transaction may look at and change: milliseconds, and little to write again after a power cut."""
BUSY_TIMEOUT_MS = 200
"""Whoever writes just now is not waited for: there will be another moment, and commits must stay on time."""

_LOOK = "SELECT position, stream, seq, at_ms FROM event WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
_ROWS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32, stream FROM event
WHERE position > ? ORDER BY position LIMIT ?
"""
_WRITE = "UPDATE event SET seqs = ?, kind = ?, flags = ?, crc32 = ? WHERE position = ?"


class LogKeeper:
    """A second connection of the reader's process. Not for several threads; open it after the writer's."""

    def __init__(self, path: Path, *, budget_bytes: int | None, retention_ms: int) -> None:
        self._path, self._configured, self._retention_ms = path, budget_bytes, retention_ms
        self.rows_merged = 0
        """How many rows have been merged into others since the start."""
        self._connection: sqlite3.Connection | None = None
        self._pruned_through = 0
        self._thinned_through = 0
        self._pass: ThinningPass | None = None
        self._streams: dict[int, tuple[bytes, str | None]] = {}
        self._last: dict[str, int] = {}
        self._seen_through = 0

    def open(self) -> None:
        """Raises LogError."""
        if self._connection is not None:
            return
        connection = open_log(self._path)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            # What a former run wrote has its end noted; what this one writes is seen as it comes.
            tails = "SELECT meter_id, max(tail_position) FROM stream WHERE tail_position IS NOT NULL GROUP BY meter_id"
            self._last = {meter: last for meter, last in connection.execute(tails) if meter is not None}
            self._seen_through = max(self._last.values(), default=0)
        except sqlite3.Error as fault:
            connection.close()
            raise trouble(self._path, fault, Phrase("the log cannot be looked after")) from fault
        self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def limits(self) -> Limits:
        return limits(self._path, self._configured, self._retention_ms)

    def measure(self) -> DiskUse:
        """Cheap: three numbers of the header, two of the file system. Raises LogError."""
        with self._named() as connection:
            return disk_use(connection, self._path)

    def prune(self, *, cutoff_ms: int | None, pressed: bool) -> bool:
        """Take away acknowledged rows, the oldest first: one transaction. True while the pass has not ended.

        Ends where rows are neither old nor in the way, and where nothing is acknowledged any more.
        """
        with self._named() as connection:
            found = self._acknowledged_part(connection)
            goes, stays = self._goes(connection, found, cutoff_ms, pressed=pressed)
            if goes:
                connection.execute("BEGIN IMMEDIATE")
                goes, stays = self._goes(connection, found, cutoff_ms, pressed=pressed)
                connection.executemany("DELETE FROM event WHERE position = ?", [(position,) for position in goes])
                connection.execute("COMMIT")
                if self._pass is not None:
                    self._pass.forget(goes)
            self._pruned_through = 0 if stays or len(found) < ROWS_AT_ONCE else found[-1][0]
            return self._pruned_through > 0

    def begin_pass(self, step_ms: int) -> None:
        """The next `thin` begins at the first row, at this resolution."""
        self._pass, self._thinned_through = ThinningPass(step_ms), 0

    def thin(self, step_ms: int) -> bool:
        """Merge neighbours that are not acknowledged: one transaction. True while the pass has not reached the end."""
        if self._pass is None or self._pass.step_ms != step_ms:
            self.begin_pass(step_ms)
        assert self._pass is not None
        with self._named() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(_ROWS, (self._thinned_through, ROWS_AT_ONCE)).fetchall()
            changes, streams = self._pass.plan(list(self._met(connection, found)))
            self._change(connection, changes)
            connection.execute("COMMIT")
            self._pass.adopt(streams)
            self.rows_merged += len(changes.removed)
            ended = len(found) < ROWS_AT_ONCE
            if ended:
                self._pass = None
            else:
                self._thinned_through = found[-1][0]
            return not ended

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file, as far as readers allow. It keeps its blocks: commits go on in them
        when the disk has no others to give."""
        with self._named() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @contextmanager
    def _named(self) -> Iterator[sqlite3.Connection]:
        """The connection; a fault leaves no transaction open and becomes a LogError."""
        self.open()
        connection = self._connection
        assert connection is not None
        try:
            yield connection
        except sqlite3.Error as fault:
            self._pass = None
            if not rolled_back(connection):
                self.close()
            raise trouble(self._path, fault, Phrase("the log cannot be looked after")) from fault

    def _acknowledged_part(self, connection: sqlite3.Connection) -> list[tuple[int, int, int, int]]:
        """The next rows, up to the last that can go: what lies beyond every hint waits until a mark has come there."""
        most = connection.execute("SELECT coalesce(max(position_hint), 0) FROM delivery").fetchone()[0]
        return connection.execute(_LOOK, (self._pruned_through, most, ROWS_AT_ONCE)).fetchall()

    def _goes(
        self,
        connection: sqlite3.Connection,
        found: list[tuple[int, int, int, int]],
        cutoff_ms: int | None,
        *,
        pressed: bool,
    ) -> tuple[list[int], bool]:
        """Positions that may go; and whether an acknowledged row was met that stays: those after it are younger."""
        acked, kept = self._marks(connection, (row[1] for row in found)), self._kept(connection)
        goes, stays = [], False
        for position, stream, seq, at_ms in found:
            mark = acked.get(stream, 0)
            if position in kept or seq > mark:
                continue
            if may_prune(seq, at_ms, acked_seq=mark, cutoff_ms=cutoff_ms, pressed=pressed):
                goes.append(position)
            else:
                stays = True
        return goes, stays

    @staticmethod
    def _marks(connection: sqlite3.Connection, streams: Iterable[int]) -> dict[int, int]:
        numbers = [(number,) for number in set(streams)]
        find = "SELECT acked_seq FROM delivery WHERE stream = ?"
        found = {number: connection.execute(find, (number,)).fetchone() for (number,) in numbers}
        return {number: mark[0] for number, mark in found.items() if mark is not None}

    def _kept(self, connection: sqlite3.Connection) -> set[int]:
        """Positions that stay whatever happens: the last row of each meter, which the accounting resumes from, and the
        last of all, since a position is never given twice."""
        latest = "SELECT stream, max(position) FROM event WHERE position > ? GROUP BY stream"
        for number, position in connection.execute(latest, (self._seen_through,)).fetchall():
            meter_id = self._stream(connection, number)[1]
            if meter_id is not None:
                self._last[meter_id] = max(position, self._last.get(meter_id, 0))
            self._seen_through = max(self._seen_through, position)
        return {*self._last.values(), self._seen_through}

    def _met(self, connection: sqlite3.Connection, found: list[tuple[Any, ...]]) -> Iterator[Found]:
        acked, kept = self._marks(connection, (values[10] for values in found)), self._kept(connection)
        for values in found:
            number = values[10]
            row = sound_row(self._stream(connection, number)[0], values)
            fixed = row is None or row.position in kept or row.seq <= acked.get(number, 0)
            yield Found(number, row or Row._make(values[:9]), row is not None, fixed)

    def _stream(self, connection: sqlite3.Connection, number: int) -> tuple[bytes, str | None]:
        """Identity and meter of a stream; for a number that a damaged row made up, none that fits."""
        if number not in self._streams:
            if len(self._streams) >= ROWS_AT_ONCE:
                self._streams.clear()
            found = connection.execute("SELECT id, meter_id FROM stream WHERE stream = ?", (number,)).fetchone()
            self._streams[number] = found or (bytes(16), None)
        return self._streams[number]

    def _change(self, connection: sqlite3.Connection, changes: Thinning) -> None:
        removed = connection.executemany(
            "DELETE FROM event WHERE position = ?", [(position,) for position in changes.removed]
        ).rowcount
        written = 0
        for position, (number, row) in changes.written.items():
            crc32 = row_crc32_of(self._stream(connection, number)[0], row)
            written += connection.execute(_WRITE, (row.seqs, row.kind, row.flags, crc32, position)).rowcount
        if max(removed, 0) != len(changes.removed) or written != len(changes.written):
            raise sqlite3.IntegrityError(Phrase("rows that were to be merged are not there"))
