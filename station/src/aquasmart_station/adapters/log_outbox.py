"""The sync service's side of log.db: what is still to be delivered, and the high-water marks.

Reads `stream` and `event`, writes `delivery` and `fence`. Every write carries the fencing number taken over at start,
so that a sync process which slept through its own replacement cannot move a mark.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.encoding import Batch, with_gaps
from ..core.errors import Fenced, LogError
from ..core.merging import clipped
from ..core.model import Kind, Row, StreamHeader
from .log_file import log_fault, open_log, open_log_read_only, read_header, sound_row, trouble

_ROWS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE position > ? AND position <= ? AND stream = ? ORDER BY position LIMIT ?
"""
_STREAMS = """
SELECT stream, header, first_position, tail_seq, tail_position FROM stream WHERE stream > ? ORDER BY stream
"""
_NEW_TAILS = """
SELECT stream, max(position) FROM event WHERE position > ? AND position <= ? GROUP BY stream
"""
_WINDOW = 20_000
"""How many positions one statement may pass over: a read transaction of milliseconds, whatever the log's length. A long
one would keep the write-ahead log from being used again."""
_PLACE = """
SELECT position, counts FROM event WHERE position > ? AND position <= ? AND stream = ? AND seq = ? LIMIT 1
"""
_BACKWARDS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE position > ? AND position <= ? AND stream = ? ORDER BY position DESC
"""
_NEXT_OF_METER = "SELECT header FROM stream WHERE stream > ? AND meter_id IS ? ORDER BY stream LIMIT 1"
_MARK = "SELECT acked_seq, acked_counts, position_hint FROM delivery WHERE stream = ?"
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
    sure_hint: int = -1
    """A hint for which the whole stream has been looked through: what is missing beyond it is missing."""

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
        self._everything = False
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
            raise trouble(self._path, fault, "the log cannot be taken over") from fault
        self._connection, self._fencing = connection, number
        self._data_version, self._known, self._looked_through, self.lanes = -1, 0, 0, {}
        return int(number)

    def open_read_only(self, *, everything: bool = False) -> None:
        """Look, and never move a mark in the log: for exports, beside whatever sync does. Raises LogError.

        `everything`: what is acknowledged counts as undelivered too, as far as it is still there.
        """
        self._connection, self._fencing, self._everything = open_log_read_only(self._path), -1, everything

    def assume(self, mark: Mark) -> None:
        """Go on as if the mark were there, in memory only."""
        lane = self.lanes[mark.stream_no]
        lane.acked_seq, lane.acked_counts, lane.hint = mark.acked_seq, mark.acked_counts, mark.position_hint

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
            raise log_fault(fault, f"the log cannot be read: {fault}") from fault

    def next_lane(self, blocked: frozenset[int] = frozenset()) -> Lane | None:
        """The stream whose oldest undelivered row is the oldest of all; FIFO within each, a blocked one skipped."""
        waiting = [lane for lane in self.lanes.values() if lane.pending and lane.number not in blocked]
        return min(waiting, key=lambda lane: (lane.hint, lane.number), default=None)

    def batch(self, lane: Lane, most_rows: int, after: Mark | None = None) -> Batch | None:
        """The next rows of a stream, made contiguous; None where what is pending cannot be sent yet.

        `after`: as if the mark were there already, for a batch that is prepared while another is under way.

        A row with a wrong checksum is left out and so becomes part of a gap (docs/protocol.md §3): its volume is in the
        counts of the row that follows.

        A row that was merged under our feet may straddle the mark: what is below it has been acknowledged with the
        mark's counts, the rest is sent (docs/decisions/0011-merging.md).
        """
        mark = after or Mark(lane.number, lane.acked_seq, lane.acked_counts, lane.hint)
        rows = self._sound_rows(lane, most_rows, mark.position_hint, mark.acked_seq)
        missing = not rows or rows[0].seq - rows[0].seqs > mark.acked_seq
        if missing and mark.position_hint != lane.sure_hint:
            # Rows seem to be missing. Before that is told to the cloud, the hint must not be what hides them.
            rows = self._sound_rows(lane, most_rows, lane.first_position - 1, mark.acked_seq)
            lane.sure_hint = mark.position_hint
        if not rows:
            return None if after else self._without_rows(lane)
        if rows[0].seq - rows[0].seqs < mark.acked_seq:
            rows[0] = clipped(rows[0], mark.acked_seq)
        complete = with_gaps(rows, mark.acked_seq)
        # What the cloud says of a mark whose row is gone may exceed what the next row says: it then names a difference.
        return Batch(lane.number, lane.header, min(mark.acked_counts, complete[0].counts), complete)

    def position_of(self, lane: Lane, seq: int) -> tuple[int, int] | None:
        """Position and counts of the row that ends at `seq`, by a scan: only after a rewind."""
        for low, high in self._windows(lane.first_position - 1, lane.last_position):
            found = self._open().execute(_PLACE, (low, high, lane.number, seq)).fetchone()
            if found is not None:
                return (found[0], found[1])
        return None

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
            raise trouble(self._path, fault, "the mark cannot be recorded") from fault
        self.assume(mark)

    def oldest_pending_at_ms(self) -> int | None:
        """Wall time of the oldest undelivered row, None where there is none."""
        lane = self.next_lane()
        if lane is None:
            return None
        for low, high in self._windows(lane.hint, lane.last_position):
            row = self._open().execute(_ROWS, (low, high, lane.number, 1)).fetchone()
            if row is not None:
                return int(row[5])
        return None

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
        for low, high in self._windows(self._looked_through, self._last_position()):
            for number, position in connection.execute(_NEW_TAILS, (low, high)).fetchall():
                self._looked_through = max(self._looked_through, position)
                lane = self.lanes.get(number)
                if lane is not None:
                    lane.last_seq = max(lane.last_seq, self._end_of(lane, low, position))
                    lane.last_position = max(lane.last_position, position)

    def _end_of(self, lane: Lane, after: int, through: int) -> int:
        """The seq of a stream's last new row. What a damaged row says of its own seq is not believed: a wrong one would
        leave rows pending that never come. Seqs are gapless, so each damaged row behind a sound one is one more.
        """
        damaged = 0
        for values in self._open().execute(_BACKWARDS, (after, through, lane.number)):
            row = sound_row(lane.header.id.bytes, values)
            if row is not None:
                return row.seq + damaged
            damaged += 1
        return max(lane.last_seq, lane.acked_seq) + damaged

    def _lane(
        self,
        connection: sqlite3.Connection,
        number: int,
        header_text: str,
        first: int,
        tail: int | None,
        tail_position: int | None,
    ) -> Lane | None:
        """The lane of a stream, None where it is closed and delivered: those are forgotten, not kept in memory."""
        header = read_header(header_text)
        if self._everything:
            mark = _before_what_is_left(connection, number, first)
        else:
            mark = connection.execute(_MARK, (number,)).fetchone()
        # The stream's end outlives its rows: those that were pruned and are wanted again go out as a gap.
        if mark is None:
            end = _closed_at(tail, tail_position, 0, first - 1)
            return Lane(number, header, first, end, first - 1, 0, header.opening_counts, first - 1)
        acked_seq, acked_counts, hint = mark
        if header.meter_id is not None and tail is not None and acked_seq >= tail:
            return None
        here = connection.execute("SELECT stream, seq FROM event WHERE position = ?", (hint,)).fetchone()
        # No row there: it was merged into a later one or pruned, and the hint is as good as before.
        if here is not None and here != (number, acked_seq):
            hint = first - 1
        end = max(acked_seq, _closed_at(tail, tail_position, acked_seq, hint))
        return Lane(number, header, first, end, hint, acked_seq, acked_counts, hint)

    def _windows(self, after: int, through: int) -> Iterator[tuple[int, int]]:
        """`after` < position ≤ `through` in pieces, from the first that holds rows: pruned ranges are not walked."""
        first = self._open().execute("SELECT min(position) FROM event WHERE position > ?", (after,)).fetchone()[0]
        if first is not None:
            for low in range(first - 1, through, _WINDOW):
                yield low, min(low + _WINDOW, through)

    def _last_position(self) -> int:
        return int(self._open().execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])

    def _sound_rows(self, lane: Lane, most_rows: int, after: int, acked_seq: int) -> list[Row]:
        """The first rows of a stream beyond position `after` and beyond seq `acked_seq` whose checksum holds."""
        connection, stream_id = self._open(), lane.header.id.bytes
        try:
            for low, high in self._windows(after, lane.last_position):
                here = low
                while here < high:
                    found = connection.execute(_ROWS, (here, high, lane.number, most_rows)).fetchall()
                    sound = [row for row in (sound_row(stream_id, values) for values in found) if row is not None]
                    rows = [row for row in sound if row.seq > acked_seq]
                    if rows:
                        return rows
                    here = found[-1][0] if len(found) == most_rows else high
        except sqlite3.Error as fault:
            raise trouble(self._path, fault, "the log cannot be read") from fault
        return []

    def _without_rows(self, lane: Lane) -> Batch | None:
        """No sound row is left beyond the mark: pruned rows that the cloud wants again, or damaged ones at the end.

        Where the meter's next stream has opened they become one gap. It runs to the stream's own noted end where that
        is known, else to where the next stream opened if that is in the same epoch: to the row that follows, as any
        gap. Where the next run resumed from a sound row that is 0 further (docs/protocol.md §3). In an open stream the
        next row will say.
        """
        following = self._open().execute(_NEXT_OF_METER, (lane.number, lane.header.meter_id)).fetchone()
        if following is None or not lane.pending:
            return None
        next_header = read_header(following[0])
        same_epoch = next_header.epoch == lane.header.epoch
        counts = max(lane.acked_counts, self._noted_end(lane), next_header.opening_counts if same_epoch else 0)
        gap = Row(
            max(lane.last_position, lane.hint),
            lane.last_seq,
            lane.pending,
            Kind.GAP.value,
            0,
            lane.header.opened_at_ms,
            0,
            counts,
            None,
        )
        return Batch(lane.number, lane.header, lane.acked_counts, [gap])

    def _noted_end(self, lane: Lane) -> int:
        """Counts at the stream's noted end, 0 where that is another seq than the one we know as its last."""
        noted = (
            self._open().execute("SELECT tail_seq, tail_counts FROM stream WHERE stream = ?", (lane.number,)).fetchone()
        )
        return int(noted[1]) if noted and noted[0] == lane.last_seq and lane.header.meter_id is not None else 0


def _before_what_is_left(connection: sqlite3.Connection, number: int, first: int) -> tuple[int, int, int] | None:
    """Where everything that is left of a stream begins: None where it is whole, else at its first row.

    What counts came before that row only the rows before it knew, so it is where the rest begins, not part of it.
    """
    row = connection.execute(
        "SELECT seq, seqs, counts, position FROM event WHERE position >= ? AND stream = ? ORDER BY position LIMIT 1",
        (first, number),
    ).fetchone()
    return None if row is None or row[0] == row[1] else (row[0], row[2], row[3])


def _closed_at(tail: int | None, tail_position: int | None, seq: int, position: int) -> int:
    """Where a stream ends by its header's row; 0 where that says nothing that can be believed.

    Each seq had a position of its own unless rows were merged: a tail much further behind `seq` than positions allow is
    a damaged figure, and the rows themselves say where the stream ends.
    """
    if tail is None or tail_position is None or tail - seq > tail_position - position:
        return 0
    return tail
