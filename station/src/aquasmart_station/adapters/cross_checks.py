"""Figures of the log that no checksum covers, compared with rows that have one: marks, and where streams begin and end.

A wrong mark would skip rows for ever or send impossible counts; a wrong end would call a stream delivered that is not.
Each is a few look-ups by key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ..core.phrases import Phrase

_MARKS = """
SELECT d.stream, acked_seq, acked_counts, e.stream, e.seq, e.counts, s.header FROM delivery d
LEFT JOIN stream s ON s.stream = d.stream LEFT JOIN event e ON e.position = d.position_hint
"""
_ENDS = """
SELECT s.stream, tail_seq, tail_counts, l.seq, l.counts FROM stream s
JOIN event l ON l.position = s.tail_position AND l.stream = s.stream
WHERE tail_seq IS NOT l.seq OR tail_counts IS NOT l.counts
"""
_BEGINNINGS = """
SELECT s.stream FROM stream s LEFT JOIN event f ON f.position = s.first_position
WHERE coalesce(f.stream, s.stream) <> s.stream OR s.first_position > (SELECT max(position) FROM event)
"""
_AROUND = """
SELECT max(CASE WHEN seq < ?2 THEN counts END), min(CASE WHEN seq > ?2 THEN counts END),
  max(CASE WHEN seq = ?2 THEN counts END)
FROM event WHERE stream = ?1
"""


def contradictions(connection: sqlite3.Connection) -> Iterator[str]:
    """What does not fit, in words. Raises sqlite3.Error."""
    for number, seq, counts, there, there_seq, there_counts, header in connection.execute(_MARKS).fetchall():
        if header is None:
            yield Phrase("there is a mark of stream {number}, which there is not", number=number)
        elif there != number:
            continue  # the row at the mark was pruned
        elif there_seq == seq:
            if there_counts != counts:
                yield Phrase("the mark of stream {number} has other counts than its row", number=number)
        elif not mark_fits(connection, number, seq, counts):
            yield Phrase("the mark of stream {number} does not fit its rows", number=number)
    for number, *_ in connection.execute(_ENDS).fetchall():
        yield Phrase("the end of stream {number} is not what its last row says", number=number)
    for (number,) in connection.execute(_BEGINNINGS).fetchall():
        yield Phrase("stream {number} does not begin where it says", number=number)


def mark_fits(connection: sqlite3.Connection, number: int, seq: int, counts: int) -> bool:
    """Whether a mark lies where the stream's rows allow it: at its own row's counts, else between its neighbours'."""
    below, above, exact = connection.execute(_AROUND, (number, seq)).fetchone()
    if exact is not None:
        return bool(exact == counts)
    return (below is None or below <= counts) and (above is None or counts <= above)
