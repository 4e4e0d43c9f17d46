"""How long sync waits: bounds, jitter, and waits that others asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.backoff import Backoff, retry_after_s

draws = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [
        (1, 0.25, 0.75),
        (2, 0.5, 1.5),
        (3, 1.0, 3.0),
        (5, 4.0, 12.0),
        (7, 15.0, 30.0),
        (10, 15.0, 30.0),
        (10_000, 15.0, 30.0),
    ],
)
def test_ranges_of_an_attempt(attempt: int, least: float, most: float) -> None:
    assert Backoff().delay_s(attempt, 0.0) == least
    assert least <= Backoff().delay_s(attempt, 0.5) <= most
    assert Backoff().delay_s(attempt, 0.999999) <= most


@given(st.integers(1, 10_000), draws)
def test_never_above_the_cap(attempt: int, draw: float) -> None:
    assert 0 < Backoff().delay_s(attempt, draw) <= 30.0


@given(st.integers(1, 20))
def test_jitter_spreads_also_at_the_cap(attempt: int) -> None:
    waits = {Backoff().delay_s(attempt, draw / 10) for draw in range(10)}
    assert len(waits) >= 5


def test_a_base_of_nothing_waits_for_nothing() -> None:
    assert Backoff(base_s=0.0).delay_s(5, 0.9) == 0.0


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        Backoff().delay_s(attempt, 0.5)


@pytest.mark.parametrize(
    ("told", "draw", "limit", "expected"),
    [
        (120, 0.0, 3600, 120),
        (120, 0.999, 3600, 124.995),
        (7200, 0.0, 3600, 3600),
        (-5, 0.0, 300, 0),
        (900, 0.5, 300, 302.5),
    ],
)
def test_retry_after_is_obeyed_capped_and_spread(told: float, draw: float, limit: float, expected: float) -> None:
    assert retry_after_s(told, draw, limit_s=limit) == pytest.approx(expected)
