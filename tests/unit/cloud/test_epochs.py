"""Aliases of epochs, boards that interleave, repeated rows that differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.comparing import compare
from aquasmart_cloud.core.epochs import BoardSpan, Former, alias_shift, interleaved
from aquasmart_cloud.core.model import MeterFields, Scale
from tests.unit.cloud.batches import make

M = 1 << 32


def _meter(
    epoch_from: int, identity: str | None = "SN1", modulus: int | None = M, *, strong: bool = True
) -> MeterFields:
    return MeterFields("tap-1", identity, strong, "e2", epoch_from, modulus, epoch_from, Scale(1, 1))


@pytest.mark.parametrize(
    ("through", "raw", "shift"),
    [
        (500, 700, 0),
        (500, 500, 0),
        (500, 499, None),
        (M + 500, 700, M),
        (3 * M + 500, 500, 3 * M),
        (M + 500, 499, None),
    ],
)
def test_a_baseline_at_or_above_the_last_raw_count_continues_the_former_epoch(
    through: int, raw: int, shift: int | None
) -> None:
    assert alias_shift(Former("e1", "SN1", True, M, through), _meter(raw)) == shift


def test_without_a_modulus_positions_are_raw() -> None:
    assert alias_shift(Former("e1", "SN1", True, None, 500), _meter(700, modulus=None)) == 0


def test_nothing_less_than_the_same_strong_identity_will_do() -> None:
    former = Former("e1", "SN1", True, M, 500)
    assert alias_shift(former, _meter(700, "SN2")) is None
    assert alias_shift(former, _meter(700, strong=False)) is None
    assert alias_shift(former._replace(identity_strong=False), _meter(700)) is None
    assert alias_shift(former, _meter(700, modulus=1 << 16)) is None


@given(st.integers(0, 5 * M), st.integers(0, M - 1))
def test_an_alias_never_lands_below_what_is_booked(through: int, raw: int) -> None:
    shift = alias_shift(Former("e1", "SN1", True, M, through), _meter(raw))
    if shift is not None:
        assert shift % M == 0
        assert raw + shift >= through


def test_boards_that_write_in_turns_are_named_once_each_pair() -> None:
    assert interleaved([BoardSpan("b", 3, 4), BoardSpan("a", 1, 5)]) == [("a", "b")]
    assert interleaved([BoardSpan("a", 1, 3), BoardSpan("b", 3, 5)]) == []
    assert interleaved([BoardSpan("a", 1, 3), BoardSpan("b", 4, 5)]) == []
    assert interleaved([BoardSpan("c", 1, 9), BoardSpan("b", 2, 3), BoardSpan("a", 4, 5)]) == [("b", "c"), ("a", "c")]


def test_only_rows_whose_boundaries_coincide_are_compared() -> None:
    first = make([1, 1, 1])
    merged = make([9, 1], rows=[{"row": 0, "kind": "merged", "seqs": 2}])
    assert compare(first, merged, 1, 3) is None


def test_how_repeated_rows_differ_is_counted() -> None:
    first = make([1, 1, 1], rows=[{"row": 1, "kind": "pour", "data": {"x": 1}}])
    again = make([1, 3, 1], rows=[{"row": 1, "kind": "leak", "data": {"x": 2}}])
    assert compare(first, again, 1, 3) == (2, 1, 2, ("counts", "data", "kind"))
    assert compare(first, again, 3, 3) is None


def test_other_times_and_spaces_are_no_difference() -> None:
    first = make([1, 1], rows=[{"row": 1, "kind": "pour", "data": {"x": 1, "y": 2}}])
    again = make([1, 1], at=5, dt=[0, 7], rows=[{"row": 1, "kind": "pour", "data": {"y": 2, "x": 1}}])
    assert compare(first, again, 1, 2) is None


def test_data_that_is_gone_is_a_difference() -> None:
    first = make([1], rows=[{"row": 0, "kind": "pour", "data": {"x": 1}}])
    assert compare(first, make([1], rows=[{"row": 0, "kind": "pour"}]), 1, 1) == (1, 1, 0, ("data",))
