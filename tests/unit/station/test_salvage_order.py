"""The most rows that can stay where they are, against trying every choice."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.adapters.salvage_order import Placed, longest_chain


def rises(rows: tuple[Placed, ...]) -> bool:
    return all(one[1] <= other[1] - other[2] for one, other in pairwise(rows))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), max_size=9))
def test_the_longest_chain_is_the_longest(drawn: list[tuple[int, int]]) -> None:
    rows = [(position, max(seq, seqs), seqs) for position, (seq, seqs) in enumerate(drawn, 1)]
    chain = longest_chain(rows)
    assert rises(tuple(chain))
    assert chain == sorted(chain)
    assert set(chain) <= set(rows)
    best = next(n for n in range(len(rows), -1, -1) if any(rises(each) for each in combinations(rows, n)))
    assert len(chain) == best


def test_one_row_far_out_of_its_place_stands_alone() -> None:
    rows = [(1, 1, 1), (2, 2, 1), (3, 4, 1), (4, 5, 1), (9_999, 3, 1)]
    assert longest_chain(rows) == rows[:4]
