"""After a salvage: every stream's rows in the order of their seqs, each seq once.

A row's checksum covers what it says, not where it lies: its position is the file's, and may be damaged by itself. And a
free page may still hold a row as it was before it was merged with others.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right

_OUT_OF_ORDER = """
SELECT DISTINCT stream FROM (
  SELECT stream, seq - seqs AS before, lag(seq, 1, 0) OVER (PARTITION BY stream ORDER BY position) AS former FROM event
) WHERE before < former
"""
_OF_STREAM = "SELECT position, seq, seqs FROM event WHERE stream = ? ORDER BY position"
_MOVE = "UPDATE event SET position = ? WHERE position = ?"

Placed = tuple[int, int, int]
"""Position, seq, seqs."""


def put_in_order(connection: sqlite3.Connection) -> None:
    """Move rows that lie in the wrong place to where their seq belongs; remove those for which there is no place."""
    for (stream,) in connection.execute(_OUT_OF_ORDER).fetchall():
        rows = connection.execute(_OF_STREAM, (stream,)).fetchall()
        chain = longest_chain(rows)
        kept = set(chain)
        for row in rows:
            if row not in kept:
                _replace(connection, row, chain)


def longest_chain(rows: list[Placed]) -> list[Placed]:
    """The most rows that can stand as they are: seqs rising with positions, none twice (patience sorting)."""
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for index, (_, seq, seqs) in enumerate(rows):
        # Behind the longest chain that ends before this row begins.
        length = bisect_right(ends, seq - seqs)
        before.append(tops[length - 1] if length else -1)
        if length == len(ends):
            ends.append(seq)
            tops.append(index)
        elif seq < ends[length]:
            ends[length], tops[length] = seq, index
    chain: list[Placed] = []
    index = tops[-1] if tops else -1
    while index >= 0:
        chain.append(rows[index])
        index = before[index]
    return chain[::-1]


def _replace(connection: sqlite3.Connection, row: Placed, chain: list[Placed]) -> None:
    position, seq, seqs = row
    place = bisect_right([each[1] for each in chain], seq - seqs)
    low = chain[place - 1][0] if place else 0
    fits = place == len(chain) or chain[place][1] - chain[place][2] >= seq
    high = chain[place][0] if place < len(chain) else low + 2
    free = _free_position(connection, low, high) if fits else None
    if free is None:
        connection.execute("DELETE FROM event WHERE position = ?", (position,))
    else:
        connection.execute(_MOVE, (free, position))
        chain.insert(place, (free, seq, seqs))


def _free_position(connection: sqlite3.Connection, low: int, high: int) -> int | None:
    taken = {
        position
        for (position,) in connection.execute(
            "SELECT position FROM event WHERE position > ? AND position < ?", (low, high)
        )
    }
    return next((place for place in range(low + 1, min(high, low + 10_000)) if place not in taken), None)
