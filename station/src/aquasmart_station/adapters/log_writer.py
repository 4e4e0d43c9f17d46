"""The reader's side of log.db: group commit of drafts, and the accounting state after a crash.

One writer and one transaction for all meters. `append` returns after the commit or raises; nothing in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ..core.boot_clock import BootOffset
from ..core.encoding import compact
from ..core.model import Draft, Resume, Row, StreamHeader
from ..core.phrases import Phrase
from .log_clock import boot_offsets, note_boot_offset
from .log_file import header_text, last_sound_row, open_log, read_header, rolled_back, trouble
from .log_rows import row_crc32

_INSERT_EVENT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_STREAM = "INSERT INTO stream VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)"
_SET_TAIL = "UPDATE stream SET tail_seq = ?, tail_counts = ?, tail_position = ? WHERE stream = ?"


@dataclass(slots=True)
class _Open:
    """A stream this process writes: its short number and where it stands."""

    number: int
    header: StreamHeader
    seq: int
    counts: int
    position: int


@dataclass(slots=True)
class _Plan:
    """One transaction, worked out before it begins."""

    rows: list[tuple[_Open, Row]]
    opened: list[_Open]
    closed: list[_Open]
    streams: dict[UUID, _Open]
    position: int


class LogWriter:
    """Appends events to the log. Not for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._streams: dict[UUID, _Open] = {}
        self._position = 0
        self._doubtful: _Plan | None = None
        self._found: list[Row] = []

    def open(self) -> None:
        """Open or create the log and close what a former run left open. Raises LogError."""
        connection = open_log(self._path, create=True)
        self._connection = connection
        try:
            self._position = connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0]
            self._close_former_streams(connection)
        except sqlite3.Error as fault:
            self.close()
            raise trouble(self._path, fault, Phrase("the log {path} cannot be read", path=self._path)) from fault

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def resume(self, meter_id: str) -> Resume | None:
        """The accounting state of a meter: its last undamaged row and that row's header; None where it has no row."""
        connection = self._connected()
        streams = connection.execute(
            "SELECT stream, header, first_position FROM stream WHERE meter_id = ? ORDER BY stream DESC",
            (meter_id,),
        )
        for number, text, first_position in streams.fetchall():
            header = read_header(text)
            row = last_sound_row(connection, number, header, first_position)
            if row is not None:
                return Resume(header, row.counts, row.at_ms, row.mono_ms, row.data)
        return None

    def append(self, drafts: Sequence[Draft]) -> list[Row]:
        """Commit `drafts` in one transaction and return their rows. Raises LogError; then the same may be tried again.

        Again means: the same drafts first, whatever has come since after them. A commit that reports a fault may still
        have reached the disk (an I/O error while syncing the WAL). The plan is therefore kept, and the next call looks
        whether its last row is there before anything is written again: the transaction is all or nothing, so one row
        answers for all. What was found is remembered until a call returns, so no draft can be booked twice, however
        often the disk fails.
        """
        connection = self._connected()
        try:
            self._settle(connection)
            rest = drafts[len(self._found) :]
            if rest:
                plan = self._plan(rest)
                self._doubtful = plan
                self._write(connection, plan)
                self._adopt(plan)
        except sqlite3.Error as fault:
            if not rolled_back(connection):
                self.close()  # which rolls back whatever it was; the next call opens another
            raise trouble(self._path, fault, Phrase("the log cannot be written")) from fault
        rows, self._found = self._found, []
        return rows

    def settle(self) -> int:
        """How many drafts of an append that failed are in the log after all, from the first on.

        They need not come again, and the others may now come changed.

        Raises LogError while that cannot be told; until it is, the same drafts must come again, first and unchanged.
        """
        try:
            self._settle(self._connected())
        except sqlite3.Error as fault:
            raise trouble(self._path, fault, Phrase("the log cannot be read")) from fault
        # Told to the caller, who no longer offers these: the next append must not skip any for them.
        landed, self._found = len(self._found), []
        return landed

    def has_change(self, change_token: str) -> bool:
        """Whether a stream that bears this token is committed. Raises LogError."""
        try:
            found = self._connected().execute(
                "SELECT 1 FROM stream WHERE instr(header, ?) > 0 LIMIT 1", (f'"change_token":"{change_token}"',)
            )
            return found.fetchone() is not None
        except sqlite3.Error as fault:
            raise trouble(self._path, fault, Phrase("the log cannot be read")) from fault

    def boot_offset(self, boot_id: str) -> BootOffset | None:
        """What is known of the wall clock of a boot. Raises LogError."""
        try:
            return boot_offsets(self._connected()).get(boot_id)
        except sqlite3.Error as fault:
            raise trouble(self._path, fault, Phrase("the log cannot be read")) from fault

    def note_boot_offset(self, boot_id: str, offset: BootOffset) -> None:
        """Store it, in a transaction of its own. Raises LogError; then the same may be tried again."""
        try:
            note_boot_offset(self._connected(), boot_id, offset)
        except sqlite3.Error as fault:
            raise trouble(self._path, fault, Phrase("the boot's time cannot be recorded")) from fault

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self.open()
        assert self._connection is not None
        return self._connection

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Adopt the doubtful plan of a failed append, if it turns out to be in the log after all."""
        plan = self._doubtful
        if plan is None:
            return
        opened, row = plan.rows[-1]
        # Where even this look fails, the doubt stays.
        found = connection.execute(
            "SELECT e.seq, s.id FROM event e JOIN stream s USING (stream) WHERE e.position = ?",
            (row.position,),
        ).fetchone()
        self._doubtful = None
        if found == (row.seq, opened.header.id.bytes):
            self._adopt(plan)

    def _plan(self, drafts: Sequence[Draft]) -> _Plan:
        plan = _Plan([], [], [], dict(self._streams), self._position)
        last_number = max((stream.number for stream in self._streams.values()), default=0) or self._last_stream()
        for draft in drafts:
            header = draft.stream
            stream = plan.streams.get(header.id)
            plan.position += 1
            if stream is None:
                last_number += 1
                stream = _Open(last_number, header, 0, header.opening_counts, plan.position)
                self._supersede(plan, header)
                plan.opened.append(_Open(last_number, header, 0, header.opening_counts, plan.position))
            # A fresh object each time: the present state must survive a transaction that fails.
            stream = _Open(stream.number, header, stream.seq + draft.seqs, draft.counts, plan.position)
            plan.streams[header.id] = stream
            data = None if draft.data is None else compact(draft.data)
            row = Row(
                plan.position, stream.seq, draft.seqs, int(draft.kind), int(draft.flags), draft.at_ms, draft.mono_ms,
                draft.counts, data,
            )  # fmt: skip
            plan.rows.append((stream, row))
        return plan

    @staticmethod
    def _supersede(plan: _Plan, header: StreamHeader) -> None:
        """A meter has one open stream: the next one closes the one before."""
        for former_id, former in list(plan.streams.items()):
            if header.meter_id is not None and former.header.meter_id == header.meter_id:
                plan.closed.append(former)
                del plan.streams[former_id]

    def _write(self, connection: sqlite3.Connection, plan: _Plan) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for stream in plan.opened:
            header = stream.header
            connection.execute(
                _INSERT_STREAM,
                (
                    stream.number,
                    header.id.bytes,
                    header.meter_id,
                    header_text(header),
                    stream.position,
                ),
            )
        connection.executemany(
            _INSERT_EVENT,
            [(row[0], stream.number, *row[1:], row_crc32(stream.header.id, row)) for stream, row in plan.rows],
        )
        tails = plan.closed + [s for s, _ in plan.rows if s.header.meter_id is None]
        connection.executemany(_SET_TAIL, [(s.seq, s.counts, s.position, s.number) for s in tails])
        connection.execute("COMMIT")

    def _adopt(self, plan: _Plan) -> None:
        self._streams, self._position, self._doubtful = plan.streams, plan.position, None
        self._found += [row for _, row in plan.rows]

    def _last_stream(self) -> int:
        return int(self._connected().execute("SELECT coalesce(max(stream), 0) FROM stream").fetchone()[0])

    def _close_former_streams(self, connection: sqlite3.Connection) -> None:
        """Note where the streams of a run that ended without warning stopped. Repeatable at any cut."""
        still_open = connection.execute(
            "SELECT stream, header, first_position FROM stream WHERE tail_seq IS NULL"
        ).fetchall()
        for number, text, first_position in still_open:
            header = read_header(text)
            if any(stream.number == number for stream in self._streams.values()):
                continue
            row = last_sound_row(connection, number, header, first_position)
            if row is not None:
                connection.execute(_SET_TAIL, (row.seq, row.counts, row.position, number))
