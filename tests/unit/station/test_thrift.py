"""Metered links and weak supplies: the allowance holds over any time, and low power only makes sync slower."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.power import FACTOR, slowness
from aquasmart_station.core.token_bucket import TokenBucket


def test_a_link_that_is_not_metered_never_waits() -> None:
    bucket = TokenBucket()
    bucket.spend(10**12, 5.0)
    assert bucket.wait_s(5.0) == 0


def test_the_burst_goes_at_once_and_the_rest_by_the_hour() -> None:
    bucket = TokenBucket(bytes_per_hour=3_600, burst_bytes=1_000)
    assert bucket.wait_s(100.0) == 0
    bucket.spend(1_000, 100.0)
    assert bucket.wait_s(100.0) == pytest.approx(1.0)
    assert bucket.wait_s(101.0) == 0
    bucket.spend(500, 101.0)
    assert bucket.wait_s(101.0) == pytest.approx(500.0)
    assert bucket.wait_s(601.0) == pytest.approx(0, abs=1e-9)


def test_an_idle_night_saves_no_more_than_the_burst() -> None:
    bucket = TokenBucket(bytes_per_hour=3_600, burst_bytes=1_000)
    bucket.spend(1_000, 0.0)
    bucket.spend(1_500, 100_000.0)
    assert bucket.wait_s(100_000.0) == pytest.approx(501.0)


@given(
    st.integers(1_000, 10**7),
    st.integers(1_000, 10**7),
    st.lists(st.tuples(st.floats(0, 5_000), st.integers(1, 200_000)), max_size=60),
)
def test_over_any_time_no_more_than_burst_and_rate_and_one_request(
    rate: int, burst: int, wishes: list[tuple[float, int]]
) -> None:
    """Whoever asks before sending stays within; windows of every length, from every request on."""
    bucket, now_s, sent = TokenBucket(rate, burst), 50.0, []
    for pause_s, size in wishes:
        now_s += pause_s
        if bucket.wait_s(now_s) <= 0:
            bucket.spend(size, now_s)
            sent.append((now_s, size))
    for first in range(len(sent)):
        total = 0
        for at_s, size in sent[first:]:
            total += size
            assert total <= burst + (at_s - sent[first][0]) * rate / 3_600 + max(s for _, s in sent) + 1


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = TokenBucket(bytes_per_hour=3_600, burst_bytes=1_000)
    bucket.spend(1_100, 100.0)
    assert bucket.wait_s(50.0) == pytest.approx(101.0)


@pytest.mark.parametrize("condition", ["rail-low", "throttled", "hot"])
def test_a_weak_supply_or_a_throttled_board_makes_everything_slower(condition: str) -> None:
    assert slowness([condition, "clock-unset"]) == FACTOR == 4


def test_other_conditions_change_nothing() -> None:
    assert slowness(["disk-full", "leak:tap-1", "rail-lower"]) == slowness([]) == 1
