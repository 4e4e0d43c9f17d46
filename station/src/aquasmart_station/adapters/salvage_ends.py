"""After a salvage: where each stream ends, which marks can be believed, and what is missing in between.

Headers and rows are in the new log by now. Nothing is guessed: a mark that contradicts the rows is dropped, so that the
whole stream is sent again (the cloud drops what it has); a stream's end is its last saved row, unless the meter's next
stream opened further on in the same epoch. Those counts were in rows that are lost: the stream then ends there, without
rows, and sync sends them as one `gap` (log_outbox.py). The volume is exact, only the times are gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core.model import StreamHeader
from .cross_checks import mark_fits
from .salvage_figures import Figures
from .salvage_order import put_in_order

_INSERT_DELIVERY = "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?)"
_SET_ENDS = "UPDATE stream SET first_position = ?, tail_seq = ?, tail_counts = ?, tail_position = ? WHERE stream = ?"
_EXTENT = """
SELECT stream, count(*), min(position), max(position), min(seq - seqs + 1), max(seq) FROM event GROUP BY stream
"""
_AT_POSITION = "SELECT seq, counts FROM event WHERE position = ?"
_BEYOND = "SELECT sum(min(seqs, seq - ?2)) FROM event WHERE stream = ?1 AND seq > ?2"
_STEPS = """
SELECT seq - seqs, counts, lag(seq, 1, ?2) OVER w, lag(counts, 1, ?3) OVER w FROM event
WHERE stream = ?1 AND seq > ?2 WINDOW w AS (ORDER BY position)
"""


class _End(NamedTuple):
    seq: int
    counts: int
    position: int


def settle_ends(
    connection: sqlite3.Connection,
    headers: Mapping[int, StreamHeader],
    marks: Mapping[int, tuple[Any, ...]],
    figures: Figures,
) -> None:
    """Write `delivery` and the streams' ends, and count what is missing. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    put_in_order(connection)
    extents = {values[0]: values[1:] for values in connection.execute(_EXTENT).fetchall()}
    kept = {n: m for n, m in marks.items() if n in headers and _believable(connection, headers[n], m, extents.get(n))}
    figures.marks, figures.marks_distrusted = len(kept), len(marks.keys() & headers.keys()) - len(kept)
    connection.executemany(_INSERT_DELIVERY, kept.values())
    numbers = _without_empty_ends(connection, headers, kept, extents)
    following: dict[str | None, StreamHeader] = {}
    for number in reversed(numbers):
        header = headers[number]
        last = _last_known(connection, header, kept.get(number), extents.get(number), number)
        end = _end(connection, number, header, last, following.get(header.meter_id))
        _write_ends(connection, number, header, end, extents.get(number), closed=header.meter_id in following)
        _count_missing(connection, number, header, kept.get(number), end, figures)
        following[header.meter_id] = header
    connection.execute("COMMIT")


def _believable(
    connection: sqlite3.Connection, header: StreamHeader, mark: tuple[Any, ...], extent: tuple[Any, ...] | None
) -> bool:
    """Whether a mark fits the rows that are there. A mark has no checksum, and a wrong one would skip rows for ever."""
    number, seq, counts = mark[:3]
    if counts < header.opening_counts:
        return False
    if extent is None:
        return True
    return mark_fits(connection, number, seq, counts)


def _without_empty_ends(
    connection: sqlite3.Connection,
    headers: Mapping[int, StreamHeader],
    marks: Mapping[int, Any],
    extents: Mapping[int, Any],
) -> list[int]:
    """The streams' numbers, less those at a meter's end of which nothing but the header is left.

    The next run resumes from the last saved row, before such a stream: kept, it would only say twice what is missing.
    """
    numbers = sorted(headers)
    held: set[str | None] = set()
    for number in reversed(numbers.copy()):
        meter_id = headers[number].meter_id
        if meter_id in held:
            continue
        if number in marks or number in extents:
            held.add(meter_id)
        else:
            numbers.remove(number)
            connection.execute("DELETE FROM stream WHERE stream = ?", (number,))
    return numbers


def _last_known(
    connection: sqlite3.Connection,
    header: StreamHeader,
    mark: tuple[Any, ...] | None,
    extent: tuple[Any, ...] | None,
    number: int,
) -> _End:
    """The last thing that is certain of a stream: its last saved row, or its mark beyond that."""
    first = connection.execute("SELECT first_position FROM stream WHERE stream = ?", (number,)).fetchone()[0]
    last = _End(0, header.opening_counts, first - 1)
    if extent is not None:
        seq, counts = connection.execute(_AT_POSITION, (extent[2],)).fetchone()
        last = _End(seq, counts, extent[2])
    if mark is not None and mark[1] > last.seq:
        last = _End(mark[1], mark[2], max(last.position, mark[3]))
    return last


def _end(
    connection: sqlite3.Connection, number: int, header: StreamHeader, last: _End, following: StreamHeader | None
) -> _End:
    """Where a stream ends: further than its last row where the meter's next one opened further on in this epoch."""
    same_epoch = following is not None and header.epoch is not None and following.epoch == header.epoch
    if following is None or not same_epoch or following.opening_counts <= last.counts:
        return last
    tail_seq, tail_position = connection.execute(
        "SELECT tail_seq, tail_position FROM stream WHERE stream = ?", (number,)
    ).fetchone()
    lost = 1
    if isinstance(tail_seq, int) and isinstance(tail_position, int):
        # Each seq had a position of its own; a tail that claims more is a damaged figure.
        lost = tail_seq - last.seq if 0 < tail_seq - last.seq <= tail_position - last.position else 1
    return _End(last.seq + lost, following.opening_counts, last.position + lost)


def _write_ends(
    connection: sqlite3.Connection,
    number: int,
    header: StreamHeader,
    end: _End,
    extent: tuple[Any, ...] | None,
    *,
    closed: bool,
) -> None:
    first = 0 if extent is None else extent[1]
    tail = end if closed or header.meter_id is None else (None, None, None)
    connection.execute(_SET_ENDS, (first, *tail, number))


def _count_missing(
    connection: sqlite3.Connection,
    number: int,
    header: StreamHeader,
    mark: tuple[Any, ...] | None,
    end: _End,
    figures: Figures,
) -> None:
    """Seqs beyond the mark that have no row, and the volume of the gaps that will stand for them."""
    acked, counts = (mark[1], mark[2]) if mark else (0, header.opening_counts)
    if end.seq <= acked:
        return
    there = connection.execute(_BEYOND, (number, acked)).fetchone()[0] or 0
    figures.missing_unacknowledged += max(0, end.seq - acked - there)
    last_seq, last_counts = acked, counts
    for before, to_counts, seq, from_counts in connection.execute(_STEPS, (number, acked, counts)):
        if before > seq and header.scale is not None:
            figures.gap_ul += header.scale.volume_ul(from_counts, to_counts)
        last_seq, last_counts = max(last_seq, before + 1), to_counts
    if end.counts > last_counts and header.scale is not None:
        figures.gap_ul += header.scale.volume_ul(last_counts, end.counts)
