"""Rows as columns are the same rows."""

from __future__ import annotations

from aquasmart_station.core.model import Row
from aquasmart_station.core.rows import Rows, columns_of, contiguous

ROWS = [Row(place, place + 3, 1, 0, 0, 1_000 + place, place, 100 + place, None) for place in range(1, 6)]


def test_columns_are_a_sequence_of_rows() -> None:
    rows = Rows(columns_of(ROWS))
    assert (len(rows), rows[0], rows[-1], list(rows)) == (5, ROWS[0], ROWS[-1], ROWS)
    assert rows == ROWS
    assert rows[1:3] == ROWS[1:3]
    assert rows != ROWS[:4]
    assert rows != [*ROWS[:4], ROWS[0]]
    assert rows != "rows"
    assert repr(rows) == repr(ROWS)
    assert columns_of(rows) is rows.columns


def test_contiguous_means_that_each_begins_where_the_one_before_ends() -> None:
    assert contiguous(columns_of(ROWS))
    assert contiguous(columns_of(ROWS[:1]))
    merged = [ROWS[0], ROWS[3]._replace(seqs=3), ROWS[4]]
    assert contiguous(columns_of(merged))
    assert not contiguous(columns_of([ROWS[0], ROWS[2]]))
    assert not contiguous(columns_of([ROWS[0], ROWS[0]]))
    assert not contiguous(columns_of([ROWS[0], ROWS[0]._replace(seqs=0)]))
