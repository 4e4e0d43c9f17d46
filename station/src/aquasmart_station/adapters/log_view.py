"""Reading log.db for people: where each stream stands, and the latest rows. Never writes, never holds a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import LogError
from ..core.model import Row, StreamHeader
from ..core.phrases import Phrase
from ..core.retention import DAY_MS, DiskUse, record_bytes
from .log_file import last_sound_row, open_log_read_only, read_header
from .log_space import disk_use

_STREAMS = """
SELECT s.stream, s.header, s.first_position, s.tail_seq, s.tail_counts,
       d.acked_seq, d.acked_counts, d.position_hint, d.acked_at_ms
FROM stream s LEFT JOIN delivery d USING (stream) ORDER BY s.stream
"""
_AFTER = """
SELECT e.position, e.seq, e.seqs, e.kind, e.flags, e.at_ms, e.mono_ms, e.counts, e.data, s.header
FROM event e JOIN stream s USING (stream) WHERE e.position > ? ORDER BY e.position LIMIT ?
"""


_OLDEST = "SELECT at_ms FROM event WHERE position > ? AND position <= ? AND stream = ? ORDER BY position LIMIT 1"
_WINDOW = 20_000
_WANTED = """
SELECT coalesce(d.position_hint, s.first_position - 1) FROM stream s LEFT JOIN delivery d USING (stream)
WHERE s.tail_seq IS NULL OR s.tail_seq > coalesce(d.acked_seq, 0)
"""
_LATEST = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data FROM event ORDER BY position DESC LIMIT 200
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """The log on its disk."""

    use: DiskUse
    acknowledged_bytes: int
    """About what could be pruned at once."""
    grown_bytes: int
    """About what was written in the last `grown_ms`, at most a day."""
    grown_ms: int


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """One stream: how far the log goes and how far the cloud has acknowledged."""

    number: int
    header: StreamHeader
    last_seq: int
    last_counts: int
    acked_seq: int
    acked_counts: int
    oldest_pending_at_ms: int | None

    @property
    def pending(self) -> int:
        return max(0, self.last_seq - self.acked_seq)


class LogView:
    """A read-only look at the log. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> LogView:
        self._connection = open_log_read_only(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def standings(self) -> list[StreamStanding]:
        """Every stream, in the order of opening. Raises LogError."""
        try:
            return [self._standing(*values) for values in self._connection.execute(_STREAMS).fetchall()]
        except sqlite3.Error as fault:
            raise LogError(Phrase("the log {path} cannot be read: {fault}", path=self._path, fault=fault)) from fault

    def _standing(
        self,
        number: int,
        header_text: str,
        first: int,
        tail_seq: int | None,
        tail_counts: int | None,
        acked_seq: int | None,
        acked_counts: int | None,
        hint: int | None,
        _acked_at_ms: int | None,
    ) -> StreamStanding:
        header = read_header(header_text)
        if tail_seq is None or tail_counts is None:
            row = last_sound_row(self._connection, number, header, first)
            tail_seq, tail_counts = (row.seq, row.counts) if row else (0, header.opening_counts)
        acked = (acked_seq or 0, header.opening_counts if acked_counts is None else acked_counts)
        oldest = None
        if tail_seq > acked[0]:
            oldest = self._oldest_beyond(first - 1 if hint is None else hint, number)
        return StreamStanding(number, header, tail_seq, tail_counts, *acked, oldest)

    def _oldest_beyond(self, position: int, number: int) -> int | None:
        """Wall time of a stream's first row beyond a position, looked for in pieces: no read lasts long."""
        last = self.last_position()
        for low in range(position, last, _WINDOW):
            found = self._connection.execute(_OLDEST, (low, low + _WINDOW, number)).fetchone()
            if found is not None:
                return int(found[0])
        return None

    def usage(self) -> Usage:
        """What the log takes on the disk, how much of it could go, and how fast it grows. Raises LogError."""
        try:
            return self._usage()
        except sqlite3.Error as fault:
            raise LogError(Phrase("the log {path} cannot be read: {fault}", path=self._path, fault=fault)) from fault

    def _usage(self) -> Usage:
        use = disk_use(self._connection, self._path)
        first, last = self._connection.execute("SELECT min(position), max(position) FROM event").fetchone()
        if first is None:
            return Usage(use, 0, 0, 0)
        wanted = min((p for (p,) in self._connection.execute(_WANTED).fetchall()), default=last)
        # By position: where rows were merged this takes too much for held back, never too little.
        acknowledged_bytes = use.page_bytes * max(0, wanted - first) // (last - first + 1)
        since, grown_ms = self._a_day_ago(first, last)
        latest = self._connection.execute(_LATEST).fetchall()
        row_bytes = sum(record_bytes(Row._make(values)) for values in latest) // len(latest)
        return Usage(use, acknowledged_bytes, (last - since) * row_bytes, grown_ms)

    def _a_day_ago(self, first: int, last: int) -> tuple[int, int]:
        """The position of a day before the last row, or the first there is; and how long before it was written."""
        newest = self._at(last)[1]
        low, high = first, last
        while low < high:
            middle = (low + high) // 2
            position, at_ms = self._at(middle)
            low, high = (position + 1, high) if at_ms < newest - DAY_MS else (low, middle)
        since, at_ms = self._at(low)
        return since, newest - at_ms

    def _at(self, position: int) -> tuple[int, int]:
        """Position and wall time of the first row from `position` on."""
        query = "SELECT position, at_ms FROM event WHERE position >= ? ORDER BY position LIMIT 1"
        found = self._connection.execute(query, (position,)).fetchone()
        return int(found[0]), int(found[1])

    def rows_after(self, position: int, most: int) -> Iterator[tuple[Row, StreamHeader]]:
        """Rows of all streams in the order in which they were committed."""
        headers: dict[str, StreamHeader] = {}
        for values in self._connection.execute(_AFTER, (position, most)).fetchall():
            text = values[9]
            if text not in headers:
                headers[text] = read_header(text)
            yield Row._make(values[:9]), headers[text]

    def pending_at_ms(self, per_mille: Sequence[int]) -> list[int]:
        """Wall times of rows so far into what waits for the cloud: 0 the oldest, 500 the middle. Raises LogError.

        By position, which every row of every stream has: rows in between that are acknowledged already count along,
        and no look takes longer because more waits. Call it only while something waits.
        """
        try:
            last = self.last_position()
            first = min((p for (p,) in self._connection.execute(_WANTED).fetchall()), default=last - 1) + 1
            return [self._at(min(last, first + (last - first) * part // 1000))[1] for part in per_mille]
        except (sqlite3.Error, TypeError) as fault:
            raise LogError(Phrase("the log {path} cannot be read: {fault}", path=self._path, fault=fault)) from fault

    def takeovers(self) -> int:
        """How often a sync process has taken this log over: the fencing number."""
        try:
            return int(self._connection.execute("SELECT number FROM fence").fetchone()[0])
        except sqlite3.Error as fault:
            raise LogError(Phrase("the log {path} cannot be read: {fault}", path=self._path, fault=fault)) from fault

    def last_position(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])
