"""The sync service's side of log.db: what is still to be delivered, and the high-water marks.

Reads `stream` and `event`, writes `delivery` and `fence`. Every write carries the fencing number taken over at start,
so that a sync process which slept through its own replacement cannot move a mark.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.encoding import Batch, header_from_document, with_gaps
from ..core.errors import Fenced, LogError
from ..core.model import Kind, Row, StreamHeader
from .log_file import open_log, row_crc32_of

_ROWS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE position > ? AND stream = ? ORDER BY position LIMIT ?
"""
_STREAMS = "SELECT stream, header, first_position, tail_seq FROM stream WHERE stream > ? ORDER BY stream"
_NEW_TAILS = """
SELECT stream, seq, max(position) FROM event WHERE position > ? GROUP BY stream
"""
_MOVE_MARK = """
INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET acked_seq = excluded.acked_seq, acked_counts = excluded.acked_counts,
  position_hint = excluded.position_hint, acked_at_ms = excluded.acked_at_ms, fencing = excluded.fencing
"""


@dataclass(slots=True)
class Lane:
    """One stream as sync sees it."""

    number: int
    header: StreamHeader
    first_position: int
    last_seq: int = 0
    last_position: int = 0
    acked_seq: int = 0
    acked_counts: int = 0
    hint: int = 0
    """Position of acked_seq, or of something before the first undelivered row."""

    @property
    def pending(self) -> int:
        return max(0, self.last_seq - self.acked_seq)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a stream's high-water mark goes."""

    stream_no: int
    acked_seq: int
    acked_counts: int
    position_hint: int


class Outbox:
    """What is to be sent. One connection, one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._fencing = 0
        self._data_version = -1
        self._known = 0
        self._looked_through = 0
        self.lanes: dict[int, Lane] = {}

    def take_over(self, now_ms: int) -> int:
        """Open the log and take the next fencing number. The caller holds sync.lock. Raises LogError."""
        connection = open_log(self._path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            number = connection.execute("SELECT number FROM fence").fetchone()[0] + 1
            connection.execute("UPDATE fence SET number = ?, pid = ?, at_ms = ?", (number, os.getpid(), now_ms))
            connection.execute("COMMIT")
        except sqlite3.Error as fault:
            connection.close()
            raise LogError(f"the log cannot be taken over: {fault}") from fault
        self._connection, self._fencing = connection, number
        self._data_version, self._known, self._looked_through, self.lanes = -1, 0, 0, {}
        return int(number)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def changed(self) -> bool:
        """Whether another connection has committed since the last look. Cheap enough for four times a second.

        `data_version` is read before the rows are, outside a transaction: a commit in between is then seen twice,
        never missed.
        """
        version = int(self._open().execute("PRAGMA data_version").fetchone()[0])
        changed = version != self._data_version
        self._data_version = version
        return changed

    def look(self) -> None:
        """Bring `lanes` up to date with what the reader has committed. Raises LogError."""
        try:
            self._look()
        except sqlite3.Error as fault:
            raise LogError(f"the log cannot be read: {fault}") from fault

    def next_lane(self, blocked: frozenset[int] = frozenset()) -> Lane | None:
        """The stream whose oldest undelivered row is the oldest of all; FIFO within each, a blocked one skipped."""
        waiting = [lane for lane in self.lanes.values() if lane.pending and lane.number not in blocked]
        return min(waiting, key=lambda lane: (lane.hint, lane.number), default=None)

    def batch(self, lane: Lane, most_rows: int, after: Mark | None = None) -> Batch | None:
        """The next rows of a stream, made contiguous; None where what is pending cannot be sent yet.

        `after`: as if the mark were there already, for a batch that is prepared while another is under way.

        A row with a wrong checksum is left out and so becomes part of a gap (docs/protocol.md §3): its volume is in the
        counts of the row that follows.
        """
        mark = after or Mark(lane.number, lane.acked_seq, lane.acked_counts, lane.hint)
        rows, damaged = self._sound_rows(lane, most_rows, mark)
        if not rows:
            return None if after else self._damaged_tail(lane, damaged)
        complete = with_gaps(rows, mark.acked_seq)
        return Batch(lane.number, lane.header, mark.acked_counts, complete)

    def position_of(self, lane: Lane, seq: int) -> tuple[int, int] | None:
        """Position and counts of the row that ends at `seq`, by a scan: only after a rewind."""
        row = (
            self._open()
            .execute(
                "SELECT position, counts FROM event WHERE position >= ? AND stream = ? AND seq = ? LIMIT 1",
                (lane.first_position, lane.number, seq),
            )
            .fetchone()
        )
        return None if row is None else (row[0], row[1])

    def move_mark(self, mark: Mark, now_ms: int) -> None:
        """Record where a stream's mark is, in one transaction. Raises Fenced, LogError.

        A crash before the commit leaves the old mark: the rows are sent again and the cloud drops them by seq. A crash
        after it has nothing to repeat.
        """
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT number FROM fence").fetchone()[0] != self._fencing:
                connection.execute("ROLLBACK")
                raise Fenced("another sync process has taken over", hint="This one stops; nothing is lost.")
            connection.execute(
                _MOVE_MARK,
                (
                    mark.stream_no,
                    mark.acked_seq,
                    mark.acked_counts,
                    mark.position_hint,
                    now_ms,
                    self._fencing,
                ),
            )
            connection.execute("COMMIT")
        except sqlite3.Error as fault:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise LogError(f"the mark cannot be recorded: {fault}") from fault
        lane = self.lanes[mark.stream_no]
        lane.acked_seq, lane.acked_counts, lane.hint = mark.acked_seq, mark.acked_counts, mark.position_hint

    def oldest_pending_at_ms(self) -> int | None:
        """Wall time of the oldest undelivered row, None where there is none."""
        lane = self.next_lane()
        if lane is None:
            return None
        row = self._open().execute(_ROWS, (lane.hint, lane.number, 1)).fetchone()
        return None if row is None else int(row[5])

    @property
    def pending(self) -> int:
        return sum(lane.pending for lane in self.lanes.values())

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LogError("the log is not open")
        return self._connection

    def _look(self) -> None:
        connection = self._open()
        for values in connection.execute(_STREAMS, (self._known,)).fetchall():
            self._known = values[0]
            lane = self._lane(connection, *values)
            if lane is not None:
                self.lanes[lane.number] = lane
        if self._looked_through == 0:
            # What is delivered needs no look.
            self._looked_through = min((lane.hint for lane in self.lanes.values()), default=self._last_position())
        for number, seq, position in connection.execute(_NEW_TAILS, (self._looked_through,)).fetchall():
            self._looked_through = max(self._looked_through, position)
            lane = self.lanes.get(number)
            if lane is not None:
                lane.last_seq, lane.last_position = max(lane.last_seq, seq), max(lane.last_position, position)

    @staticmethod
    def _lane(
        connection: sqlite3.Connection, number: int, header_text: str, first: int, tail: int | None
    ) -> Lane | None:
        """The lane of a stream, None where it is closed and delivered: those are forgotten, not kept in memory."""
        mark = connection.execute(
            "SELECT acked_seq, acked_counts, position_hint FROM delivery WHERE stream = ?", (number,)
        ).fetchone()
        header = header_from_document(json.loads(header_text))
        if mark is None:
            return Lane(number, header, first, acked_counts=header.opening_counts, hint=first - 1)
        acked_seq, acked_counts, hint = mark
        if header.meter_id is not None and tail is not None and acked_seq >= tail:
            return None
        here = connection.execute("SELECT stream, seq FROM event WHERE position = ?", (hint,)).fetchone()
        if here != (number, acked_seq):
            hint = first - 1
        return Lane(number, header, first, acked_seq, 0, acked_seq, acked_counts, hint)

    def _last_position(self) -> int:
        return int(self._open().execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])

    def _sound_rows(self, lane: Lane, most_rows: int, mark: Mark) -> tuple[list[Row], int]:
        rows: list[Row] = []
        damaged, position = 0, mark.position_hint
        while not rows:
            try:
                found = self._open().execute(_ROWS, (position, lane.number, most_rows)).fetchall()
            except sqlite3.Error as fault:
                raise LogError(f"the log cannot be read: {fault}") from fault
            if not found:
                break
            position = found[-1][0]
            sound = _sound(found, lane.header.id.bytes)
            damaged += len(found) - len(sound)
            rows = [row for row in sound if row.seq > mark.acked_seq]
        return rows, damaged

    def _damaged_tail(self, lane: Lane, damaged: int) -> Batch | None:
        """Only damaged rows are left: in a closed stream they become a gap that covers 0.

        The next catch-up of the meter has already taken their volume. In an open stream the next row will say.
        """
        superseded = "SELECT 1 FROM stream WHERE stream > ? AND meter_id IS ? LIMIT 1"
        connection = self._open()
        closed = connection.execute(superseded, (lane.number, lane.header.meter_id)).fetchone()
        if not damaged or not closed or not lane.pending:
            return None
        gap = Row(
            lane.last_position, lane.last_seq, lane.pending, Kind.GAP.value, 0, lane.header.opened_at_ms, 0,
            lane.acked_counts, None,
        )  # fmt: skip
        return Batch(lane.number, lane.header, lane.acked_counts, [gap])


def _sound(found: list[tuple[Any, ...]], stream_id: bytes) -> list[Row]:
    """The rows whose checksum holds."""
    rows: list[Row] = []
    for values in found:
        row = Row._make(values[:9])
        try:
            if row_crc32_of(stream_id, row) == values[9]:
                rows.append(row)
        except (struct.error, AttributeError, TypeError):
            continue  # a damaged record can hold any type
    return rows
