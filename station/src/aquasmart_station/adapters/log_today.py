"""How much was dispensed since a moment, from log.db, for people. Reads only, in a few short looks.

By halving over positions, since rows have no index by time: they stand in the order of their commit, and their wall
times follow it but for a clock that was set, of which the answer is as wrong as the clock was. The books never ask.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..core.errors import LogError
from ..core.model import StreamHeader
from ..core.phrases import Phrase
from .log_file import last_sound_row, open_log_read_only, read_header

_STREAMS = "SELECT stream, header, first_position, tail_counts FROM stream ORDER BY stream"
_FROM = "SELECT position, at_ms FROM event WHERE position >= ? ORDER BY position LIMIT 1"
_BEFORE = "SELECT counts FROM event WHERE stream = ? AND position >= ? AND position < ? ORDER BY position DESC LIMIT 1"
_AFTER = "SELECT counts FROM event WHERE stream = ? AND position >= ? AND position < ? ORDER BY position LIMIT 1"
_WINDOW = 50_000
"""Before the moment, a stream's last row is looked for among so many: a meter that is alive has one in five minutes."""


def dispensed_since(path: Path, since_ms: int) -> dict[str, int]:
    """Microlitres by meter id, of the streams that ran since. Raises LogError."""
    try:
        connection = open_log_read_only(path)
        try:
            return _dispensed(connection, since_ms)
        finally:
            connection.close()
    except sqlite3.Error as fault:
        raise LogError(Phrase("the log {path} cannot be read: {fault}", path=path, fault=fault)) from fault


def _dispensed(connection: sqlite3.Connection, since_ms: int) -> dict[str, int]:
    streams = [(number, read_header(text), *rest) for number, text, *rest in connection.execute(_STREAMS).fetchall()]
    moment = _position_of(connection, since_ms)
    total: dict[str, int] = {}
    going: dict[str, tuple[int, StreamHeader, int, int | None]] = {}
    for number, header, first, tail in streams:
        if header.meter_id is None:
            continue
        total.setdefault(header.meter_id, 0)
        if first >= moment:
            total[header.meter_id] += _grown(connection, number, header, first, tail, header.opening_counts)
        else:
            # Streams of a meter follow each other: of those opened before, only the last can go on beyond.
            going[header.meter_id] = (number, header, first, tail)
    for meter_id, (number, header, first, tail) in going.items():
        then = _counts_at(connection, number, first, moment)
        if then is not None:
            total[meter_id] += _grown(connection, number, header, first, tail, then)
    return total


def _grown(
    connection: sqlite3.Connection, number: int, header: StreamHeader, first: int, tail: int | None, then: int
) -> int:
    if tail is None:
        row = last_sound_row(connection, number, header, first)
        tail = row.counts if row else header.opening_counts
    if header.scale is None or tail <= then:
        return 0
    return header.scale.volume_ul(then, tail)


def _counts_at(connection: sqlite3.Connection, number: int, first: int, moment: int) -> int | None:
    """A stream's counts at a position; None where it had ended long before."""
    found = connection.execute(_BEFORE, (number, max(first, moment - _WINDOW), moment)).fetchone()
    if found is None:
        found = connection.execute(_AFTER, (number, moment, moment + _WINDOW)).fetchone()
    return None if found is None else int(found[0])


def _position_of(connection: sqlite3.Connection, since_ms: int) -> int:
    """The first position whose row is not before `since_ms`; one beyond the last where all are."""
    first, last = connection.execute("SELECT min(position), max(position) FROM event").fetchone()
    if first is None:
        return 0
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        position, at_ms = connection.execute(_FROM, (middle,)).fetchone()
        low, high = (position + 1, high) if at_ms < since_ms else (low, middle)
    return int(low)
