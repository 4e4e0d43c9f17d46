"""The streams of the log as sync sees them: where each stands, and where it ends.

Only looks. What is found is kept in memory and brought up to date with what the reader has committed since; a backlog
of any length is never walked through to find its end, and no statement passes over more than a window of positions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..core.model import StreamHeader
from .log_file import read_header
from .log_rows import sound_row

WINDOW = 20_000
"""How many positions one statement may pass over: a read transaction of milliseconds, whatever the log's length. A long
one would keep the write-ahead log from being used again."""
_BEYOND_TAIL = 1_000
"""How many positions beyond a stream's noted end are searched for damaged rows that the note did not count."""
_STREAMS = """
SELECT stream, header, first_position, tail_seq, tail_position FROM stream WHERE stream > ? ORDER BY stream
"""
_STREAM = """
SELECT stream, header, first_position, tail_seq, tail_position FROM stream WHERE id = ?
"""
_NEW_TAILS = """
SELECT stream, max(position) FROM event WHERE position > ? AND position <= ? GROUP BY stream
"""
_BACKWARDS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE position > ? AND position <= ? AND stream = ? ORDER BY position DESC
"""
_FIRST_LEFT = """
SELECT seq, seqs, counts, position FROM event WHERE position >= ? AND stream = ? ORDER BY position LIMIT 1
"""
_MARK = "SELECT acked_seq, acked_counts, position_hint FROM delivery WHERE stream = ?"


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
class _Noted:
    """What the log's own row says of a stream's end; None while the stream is open."""

    seq: int | None
    position: int | None

    def after(self, seq: int, position: int) -> int:
        """The noted end; 0 where that says nothing that can be believed.

        Each seq had a position of its own unless rows were merged: a tail much further behind `seq` than positions
        allow is a damaged figure, and the rows themselves say where the stream ends.
        """
        if self.seq is None or self.position is None or self.seq - seq > self.position - position:
            return 0
        return self.seq


class Lanes:
    """All streams with something to deliver, by their number in the log. `look` first."""

    def __init__(self, *, everything: bool = False) -> None:
        """`everything`: what is acknowledged counts as undelivered too, as far as it is still there."""
        self._everything = everything
        self._known = 0
        self._looked_through = 0
        self.by_number: dict[int, Lane] = {}

    @property
    def pending(self) -> int:
        return sum(lane.pending for lane in self.by_number.values())

    def next(self, blocked: frozenset[int] = frozenset()) -> Lane | None:
        """The stream whose oldest undelivered row is the oldest of all; FIFO within each, a blocked one skipped."""
        waiting = [lane for lane in self.by_number.values() if lane.pending and lane.number not in blocked]
        return min(waiting, key=lambda lane: (lane.hint, lane.number), default=None)

    def look(self, connection: sqlite3.Connection) -> None:
        """Bring the lanes up to date with what the reader has committed. Raises sqlite3.Error, LogDamaged.

        The last position is read before the streams are: a stream whose rows are younger than that has them found by
        the next look, which the commit that brought them announces.
        """
        last = last_position(connection)
        first_look = self._looked_through == 0
        for number, header, first, tail, tail_position in connection.execute(_STREAMS, (self._known,)).fetchall():
            self._known = number
            noted = _Noted(tail, tail_position)
            lane = self._lane(connection, number, read_header(header), first, noted)
            if lane is not None:
                self.by_number[number] = lane
                if first_look:
                    _find_end(connection, lane, noted, last)
        if not first_look:
            self._meet_new_rows(connection, last)
        self._looked_through = max(self._looked_through, last)

    def reopen(self, connection: sqlite3.Connection, stream_id: bytes) -> Lane | None:
        """The lane of a stream, also where it was closed, delivered and forgotten; None where the log has none such.

        Raises sqlite3.Error, LogDamaged.
        """
        found = connection.execute(_STREAM, (stream_id,)).fetchone()
        if found is None:
            return None
        number, header, first, tail, tail_position = found
        if number not in self.by_number:
            noted = _Noted(tail, tail_position)
            lane = self._lane(connection, number, read_header(header), first, noted, even_if_delivered=True)
            assert lane is not None
            _find_end(connection, lane, noted, last_position(connection))
            self.by_number[number] = lane
        return self.by_number[number]

    def _meet_new_rows(self, connection: sqlite3.Connection, last: int) -> None:
        for low, high in windows(connection, self._looked_through, last):
            for number, position in connection.execute(_NEW_TAILS, (low, high)).fetchall():
                lane = self.by_number.get(number)
                if lane is not None:
                    _meet(connection, lane, [(low, position)])

    def _lane(
        self,
        connection: sqlite3.Connection,
        number: int,
        header: StreamHeader,
        first: int,
        noted: _Noted,
        *,
        even_if_delivered: bool = False,
    ) -> Lane | None:
        """The lane of a stream, None where it is closed and delivered: those are forgotten, not kept in memory."""
        if self._everything:
            mark = _before_what_is_left(connection, number, first)
        else:
            mark = connection.execute(_MARK, (number,)).fetchone()
        # The stream's end outlives its rows: those that were pruned and are wanted again go out as a gap.
        if mark is None:
            return Lane(
                number, header, first, noted.after(0, first - 1), first - 1, 0, header.opening_counts, first - 1
            )
        acked_seq, acked_counts, hint = mark
        delivered = header.meter_id is not None and noted.seq is not None and acked_seq >= noted.seq
        if delivered and not even_if_delivered:
            return None
        here = connection.execute("SELECT stream, seq FROM event WHERE position = ?", (hint,)).fetchone()
        # No row there: it was merged into a later one or pruned, and the hint is as good as before.
        if here is not None and here != (number, acked_seq):
            hint = first - 1
        end = max(acked_seq, noted.after(acked_seq, hint))
        return Lane(number, header, first, end, hint, acked_seq, acked_counts, hint)


def last_position(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])


def windows(connection: sqlite3.Connection, after: int, through: int) -> Iterator[tuple[int, int]]:
    """`after` < position ≤ `through` in pieces, from the first that holds rows: pruned ranges are not walked."""
    first = connection.execute("SELECT min(position) FROM event WHERE position > ?", (after,)).fetchone()[0]
    if first is not None:
        for low in range(first - 1, through, WINDOW):
            yield low, min(low + WINDOW, through)


def _find_end(connection: sqlite3.Connection, lane: Lane, noted: _Noted, last: int) -> None:
    """Where a stream ends that was there before this process: near its noted end, else from the log's end backwards.

    The noted end is that of the last sound row. Damaged ones may follow it; they are told to the cloud as a gap.
    """
    if noted.position is not None and lane.last_seq:
        lane.last_position = max(lane.last_position, noted.position)
        _meet(connection, lane, [(noted.position, min(last, noted.position + _BEYOND_TAIL))])
    else:
        low = min(lane.first_position - 1, lane.hint)
        _meet(connection, lane, ((max(low, high - WINDOW), high) for high in range(last, low, -WINDOW)))


def _meet(connection: sqlite3.Connection, lane: Lane, pieces: Iterable[tuple[int, int]]) -> None:
    """Take a stream's last row from pieces of the log, the latest first.

    What a damaged row says of its own seq is not believed: a wrong one would leave rows pending that never come. Seqs
    are gapless, so each damaged row behind a sound one is one more.
    """
    damaged = 0
    for after, through in pieces:
        for values in connection.execute(_BACKWARDS, (after, through, lane.number)):
            lane.last_position = max(lane.last_position, values[0])
            row = sound_row(lane.header.id.bytes, values)
            if row is not None:
                lane.last_seq = max(lane.last_seq, row.seq + damaged)
                return
            damaged += 1
    lane.last_seq = max(lane.last_seq, lane.acked_seq) + damaged


def _before_what_is_left(connection: sqlite3.Connection, number: int, first: int) -> tuple[int, int, int] | None:
    """Where everything that is left of a stream begins: None where it is whole, else at its first row.

    What counts came before that row only the rows before it knew, so it is where the rest begins, not part of it.
    """
    row = connection.execute(_FIRST_LEFT, (first, number)).fetchone()
    return None if row is None or row[0] == row[1] else (row[0], row[2], row[3])
