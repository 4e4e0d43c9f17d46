"""Which streams of the log still hold events: read for the heartbeat's `retained` list. Only looks."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from ..core.retained import Holding
from .log_lanes import Lane, windows

_STREAMS = """
SELECT stream, id, meter_id, first_position, tail_seq, tail_counts, tail_position FROM stream ORDER BY stream
"""
_FIRST_LEFT = """
SELECT seq - seqs + 1 FROM event WHERE position > ? AND position <= ? AND stream = ? ORDER BY position LIMIT 1
"""
_COUNTS = "SELECT counts FROM event WHERE position = ? AND stream = ?"


def holdings(connection: sqlite3.Connection, lanes: dict[int, Lane]) -> list[Holding]:
    """Every stream with events left, in the order of opening. `lanes` know how far the open ones go.

    Events are pruned from the front of the log, so a stream that ends before the first that is left holds none. Raises
    sqlite3.Error.
    """
    oldest = connection.execute("SELECT min(position) FROM event").fetchone()[0]
    streams = connection.execute(_STREAMS).fetchall()
    last_of = {meter_id: number for number, _, meter_id, *_ in streams}
    found = []
    for number, raw_id, meter_id, first, tail, tail_counts, tail_position in streams:
        if oldest is None or (tail_position is not None and tail_position < oldest):
            continue
        lane = lanes.get(number)
        closed = tail is not None and last_of[meter_id] != number
        through, counts = (tail, tail_counts) if closed or lane is None else _end(connection, lane)
        if through:
            first_seq = 1 if first >= oldest else _first_left(connection, number, oldest, tail_position)
            found.append(Holding(str(UUID(bytes=raw_id)), min(first_seq, through), through, counts or 0, closed))
    return found


def _end(connection: sqlite3.Connection, lane: Lane) -> tuple[int, int]:
    """Where an open stream stands; its mark's counts where the last row was not to be found."""
    counts = connection.execute(_COUNTS, (lane.last_position, lane.number)).fetchone()
    return (lane.last_seq, counts[0]) if counts else (lane.acked_seq, lane.acked_counts)


def _first_left(connection: sqlite3.Connection, number: int, oldest: int, tail_position: int | None) -> int:
    """The first seq of a stream whose beginning was pruned."""
    through = tail_position or connection.execute("SELECT max(position) FROM event").fetchone()[0]
    for low, high in windows(connection, oldest - 1, through):
        row = connection.execute(_FIRST_LEFT, (low, high, number)).fetchone()
        if row is not None:
            return max(1, int(row[0]))
    return 1
