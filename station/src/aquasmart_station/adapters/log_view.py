"""Reading log.db for people: where each stream stands, and the latest rows. Never writes, never holds a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import LogError
from ..core.model import Row, StreamHeader
from .log_file import last_sound_row, open_log_read_only, read_header

_STREAMS = """
SELECT s.stream, s.header, s.first_position, s.tail_seq, s.tail_counts,
       d.acked_seq, d.acked_counts, d.position_hint, d.acked_at_ms
FROM stream s LEFT JOIN delivery d USING (stream) ORDER BY s.stream
"""
_AFTER = """
SELECT e.position, e.seq, e.seqs, e.kind, e.flags, e.at_ms, e.mono_ms, e.counts, e.data, s.header
FROM event e JOIN stream s USING (stream) WHERE e.position > ? ORDER BY e.position LIMIT ?
"""


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
            raise LogError(f"the log {self._path} cannot be read: {fault}") from fault

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
            oldest = self._connection.execute(
                "SELECT at_ms FROM event WHERE position > ? AND stream = ? LIMIT 1",
                (first - 1 if hint is None else hint, number),
            ).fetchone()
        return StreamStanding(number, header, tail_seq, tail_counts, *acked, oldest[0] if oldest else None)

    def rows_after(self, position: int, most: int) -> Iterator[tuple[Row, StreamHeader]]:
        """Rows of all streams in the order in which they were committed."""
        headers: dict[str, StreamHeader] = {}
        for values in self._connection.execute(_AFTER, (position, most)).fetchall():
            text = values[9]
            if text not in headers:
                headers[text] = read_header(text)
            yield Row._make(values[:9]), headers[text]

    def last_position(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])
