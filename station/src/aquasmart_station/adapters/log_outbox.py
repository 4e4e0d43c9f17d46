"""The sync service's side of log.db: what is still to be delivered, and the high-water marks.

Reads `stream` and `event`, writes `delivery`, `dead_letter`, `cloud_time` and `fence`. Every write carries the fencing
number taken over at start, so that a sync process which slept through its own replacement cannot move a mark.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from ..core.bisecting import Verdict
from ..core.boot_clock import BootOffset
from ..core.encoding import Batch, with_gaps
from ..core.errors import Fenced, LogError
from ..core.merging import clipped
from ..core.model import Kind, Row
from ..core.retained import Holding
from ..core.rows import Rows
from .log_clock import boot_offsets, cloud_time_ms, note_cloud_time
from .log_dead_letters import Place, bury, mark_resent, places, with_gaps_for_dead
from .log_file import log_fault, open_log, open_log_read_only, read_header, rolled_back, trouble
from .log_lanes import Lane, Lanes, windows
from .log_retained import holdings
from .log_rows import sound_row, sound_rows

_ROWS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE position > ? AND position <= ? AND stream = ? ORDER BY position LIMIT ?
"""
_CLOUD_TIME_STEP_MS = 3_600_000
_PLACE = """
SELECT position, counts FROM event WHERE position > ? AND position <= ? AND stream = ? AND seq = ? LIMIT 1
"""
_NEXT_OF_METER = "SELECT header FROM stream WHERE stream > ? AND meter_id IS ? ORDER BY stream LIMIT 1"
_NOTED_END = "SELECT tail_seq, tail_counts FROM stream WHERE stream = ?"
_MOVE_MARK = """
INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET acked_seq = excluded.acked_seq, acked_counts = excluded.acked_counts,
  position_hint = excluded.position_hint, acked_at_ms = excluded.acked_at_ms, fencing = excluded.fencing
"""


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
        self._lanes = Lanes()
        self._boots: dict[str, BootOffset] = {}
        self._dead: dict[int, dict[int, Place]] = {}
        self._cloud_time_ms: int | None = None

    @property
    def lanes(self) -> dict[int, Lane]:
        """Streams with something to deliver, by their number in the log."""
        return self._lanes.by_number

    @property
    def pending(self) -> int:
        """Events that wait to be acknowledged."""
        return self._lanes.pending

    def pending_beside(self, blocked: frozenset[int]) -> int:
        """The same without what stands in `blocked` streams."""
        return sum(lane.pending for lane in self.lanes.values() if lane.number not in blocked)

    @property
    def dead_letters(self) -> int:
        """Events that the cloud refuses for good and that were not taken from a retry since."""
        return sum(not place.resent for letters in self._dead.values() for place in letters.values())

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
        self._data_version, self._lanes = -1, Lanes()
        return int(number)

    def open_read_only(self, *, everything: bool = False) -> None:
        """Look, and never move a mark in the log: for exports, beside whatever sync does. Raises LogError.

        `everything`: what is acknowledged counts as undelivered too, as far as it is still there.
        """
        self._connection, self._fencing, self._lanes = open_log_read_only(self._path), -1, Lanes(everything=everything)

    def assume(self, mark: Mark) -> None:
        """Go on as if the mark were there, in memory only."""
        lane = self.lanes[mark.stream_no]
        lane.acked_seq, lane.acked_counts, lane.hint = mark.acked_seq, mark.acked_counts, mark.position_hint

    def close(self) -> None:
        self._fencing = 0
        self._give_up_connection()

    def _give_up_connection(self) -> None:
        self._data_version = -1
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
        connection = self._open()
        try:
            self._lanes.look(connection)
            self._boots = boot_offsets(connection)
            self._dead = places(connection)
            self._cloud_time_ms = cloud_time_ms(connection)
        except sqlite3.Error as fault:
            raise log_fault(fault, f"the log cannot be read: {fault}") from fault

    def keep_only(self, stream_id: str) -> None:
        """Forget every stream but one."""
        for number, lane in list(self.lanes.items()):
            if str(lane.header.id) != stream_id:
                del self.lanes[number]

    def next_lane(self, blocked: frozenset[int] = frozenset()) -> Lane | None:
        """The stream whose oldest undelivered row is the oldest of all; FIFO within each, a blocked one skipped."""
        return self._lanes.next(blocked)

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
        if not isinstance(rows, Rows) or rows[0].seq - rows[0].seqs != mark.acked_seq:
            rows = _joined_to(rows, mark.acked_seq)
        if lane.number in self._dead:
            rows = with_gaps_for_dead(rows, self._dead[lane.number])
        # What the cloud says of a mark whose row is gone may exceed what the next row says: it then names a difference.
        before = min(mark.acked_counts, rows[0].counts)
        return Batch(lane.number, lane.header, before, rows, self.clock_of(lane))

    def clock_of(self, lane: Lane) -> BootOffset | None:
        """What is known by now of the time of the boot that a stream belongs to."""
        return self._boots.get(lane.header.boot_id)

    def position_of(self, lane: Lane, seq: int) -> tuple[int, int] | None:
        """Position and counts of the row that ends at `seq`, by a scan: only after a rewind."""
        for low, high in windows(self._open(), lane.first_position - 1, lane.last_position):
            found = self._open().execute(_PLACE, (low, high, lane.number, seq)).fetchone()
            if found is not None:
                return (found[0], found[1])
        return None

    def move_mark(self, mark: Mark, now_ms: int) -> None:
        """Record where a stream's mark is, in one transaction. Raises Fenced, LogError.

        A crash before the commit leaves the old mark: the rows are sent again and the cloud drops them by seq. A crash
        after it has nothing to repeat.
        """
        values = (mark.stream_no, mark.acked_seq, mark.acked_counts, mark.position_hint, now_ms, self._fencing)
        self._write(lambda connection: connection.execute(_MOVE_MARK, values), "the mark cannot be recorded")
        self.assume(mark)

    def bury(self, mark: Mark, row: Row, counts_before: int, against: Verdict, now_ms: int) -> None:
        """Record `row` as a dead letter and move the mark past its gap, in one transaction.

        The caller has the cloud's signed word that it took the gap. A crash before the commit leaves both undone: the
        row is offered, refused and offered as its gap once more, which the cloud drops as a duplicate. A row that the
        reader has merged with others meanwhile straddles the mark now, and its rest is sent. Raises Fenced, LogError.
        """
        number, fencing = mark.stream_no, self._fencing
        values = (number, mark.acked_seq, mark.acked_counts, mark.position_hint, now_ms, fencing)

        def change(connection: sqlite3.Connection) -> None:
            bury(connection, number, row, counts_before, against, now_ms, fencing)
            connection.execute(_MOVE_MARK, values)

        self._write(change, "the dead letter cannot be recorded")
        self._dead.setdefault(number, {})[row.seq] = Place(row.seqs, now_ms)
        self.assume(mark)

    def note_resent(self, stream_id: str, seq: int, now_ms: int) -> None:
        """The cloud has taken a dead letter that was sent again by hand. Repeatable. Raises Fenced, LogError."""
        raw_id = UUID(stream_id).bytes
        self._write(lambda connection: mark_resent(connection, raw_id, seq, now_ms), "the retry cannot be recorded")
        self._dead = places(self._open())

    def dead_letter_times_ms(self, lane: Lane) -> list[int]:
        """When each dead letter of a stream was recorded, wall time."""
        return [place.at_ms for place in self._dead.get(lane.number, {}).values()]

    def lane_of(self, stream_id: str) -> Lane | None:
        """A stream's lane by its id, re-opened where it was delivered and forgotten. Raises LogError."""
        try:
            return self._lanes.reopen(self._open(), UUID(stream_id).bytes)
        except ValueError:
            return None
        except sqlite3.Error as fault:
            raise log_fault(fault, f"the log cannot be read: {fault}") from fault

    def retained(self) -> list[Holding]:
        """Every stream of which events are left. Raises LogError."""
        try:
            return holdings(self._open(), self.lanes)
        except sqlite3.Error as fault:
            raise log_fault(fault, f"the log cannot be read: {fault}") from fault

    def note_cloud_time(self, server_time_ms: int) -> None:
        """Keep the time of an answer whose signature verified: the floor of the system clock. Raises Fenced, LogError.

        Once an hour is enough for a floor, and costs the card nothing.
        """
        known_ms = self._cloud_time_ms
        if known_ms is None or abs(server_time_ms - known_ms) >= _CLOUD_TIME_STEP_MS:
            self._write(lambda connection: note_cloud_time(connection, server_time_ms), "the time cannot be recorded")
            self._cloud_time_ms = server_time_ms

    def oldest_pending_at_ms(self) -> int | None:
        """Wall time of the oldest undelivered row, None where there is none."""
        lane = self.next_lane()
        if lane is None:
            return None
        for low, high in windows(self._open(), lane.hint, lane.last_position):
            row = self._open().execute(_ROWS, (low, high, lane.number, 1)).fetchone()
            if row is not None:
                return int(row[5])
        return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._fencing > 0:
                raise LogError("the log is not open")
            self._connection = open_log(self._path)  # it was given up; what this process took over is its own still
        return self._connection

    def _write(self, change: Callable[[sqlite3.Connection], object], what: str) -> None:
        """One transaction of the process that holds the fence. Raises Fenced, LogError."""
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT number FROM fence").fetchone()[0] != self._fencing:
                connection.execute("ROLLBACK")
                raise Fenced("another sync process has taken over", hint="This one stops; nothing is lost.")
            change(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as fault:
            if not rolled_back(connection):
                self._give_up_connection()
            raise trouble(self._path, fault, what) from fault

    def _sound_rows(self, lane: Lane, most_rows: int, after: int, acked_seq: int) -> Sequence[Row]:
        """The first rows of a stream beyond position `after` and beyond seq `acked_seq` whose checksum holds."""
        connection, stream_id = self._open(), lane.header.id.bytes
        try:
            for low, high in windows(connection, after, lane.last_position):
                here = low
                while here < high:
                    found = connection.execute(_ROWS, (here, high, lane.number, most_rows)).fetchall()
                    rows = _beyond(stream_id, found, acked_seq)
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
        header = lane.header
        following = self._open().execute(_NEXT_OF_METER, (lane.number, header.meter_id)).fetchone()
        if following is None or not lane.pending:
            return None
        opening = read_header(following[0])
        resumed = opening.opening_counts if opening.epoch == header.epoch else 0
        counts = max(lane.acked_counts, self._noted_end(lane), resumed)
        position = max(lane.last_position, lane.hint)
        gap = Row(position, lane.last_seq, lane.pending, Kind.GAP.value, 0, header.opened_at_ms, 0, counts, None)
        return Batch(lane.number, header, lane.acked_counts, [gap])

    def _noted_end(self, lane: Lane) -> int:
        """Counts at the stream's noted end, 0 where that is another seq than the one we know as its last."""
        noted = self._open().execute(_NOTED_END, (lane.number,)).fetchone()
        return int(noted[1]) if noted and noted[0] == lane.last_seq and lane.header.meter_id is not None else 0


def _beyond(stream_id: bytes, found: Sequence[tuple[Any, ...]], acked_seq: int) -> Sequence[Row]:
    """Those rows of a piece that are sound and above `acked_seq`."""
    rows = sound_rows(stream_id, found) if found else None
    if rows is not None and rows[0].seq > acked_seq:
        return rows
    sound = (sound_row(stream_id, values) for values in found)
    return [row for row in sound if row is not None and row.seq > acked_seq]


def _joined_to(rows: Sequence[Row], acked_seq: int) -> Sequence[Row]:
    """Rows made contiguous from the mark on: the first is clipped if it straddles it, what is missing is a gap."""
    whole = list(rows)
    if whole[0].seq - whole[0].seqs < acked_seq:
        whole[0] = clipped(whole[0], acked_seq)
    return with_gaps(whole, acked_seq)
