"""Waits of our own making end when the way is free; waits that the cloud asked for do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.pacing import Pace, fleet_of, recheck_in_s, spread_s, worth_keeping


def test_a_backoff_grows_to_its_cap_and_success_ends_it() -> None:
    pace = Pace()
    waits = [pace.failed(100.0, 0.5) for _ in range(12)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(waits) <= 30.0
    assert pace.not_before_s > 100.0
    pace.succeeded()
    assert (pace.attempt, pace.not_before_s) == (0, 0.0)


def test_retry_after_is_capped_by_who_said_so() -> None:
    assert 3_600 <= Pace().failed(0.0, 0.5, after_s=99_999.0, verified=True) <= 3_605
    assert 300 <= Pace().failed(0.0, 0.5, after_s=99_999.0) <= 305
    assert 120 <= Pace().failed(0.0, 0.99, after_s=120.0, verified=True) <= 125


def test_an_unverified_answer_is_asked_again_ever_more_slowly_up_to_the_slow_re_check() -> None:
    pace = Pace()
    waits = [pace.unverified(0.0, 0.5) for _ in range(20)]
    assert waits[0] == 0.5
    assert 450 <= waits[-1] <= 900


def test_a_free_way_ends_our_own_waits_only() -> None:
    ours, theirs, held = Pace(), Pace(), Pace()
    ours.failed(100.0, 0.5)
    theirs.failed(100.0, 0.5, after_s=60.0, verified=True)
    held.held(100.0, 0.5)
    for pace in (ours, theirs, held):
        pace.way_is_free(100.1)
    assert ours.not_before_s == 100.1
    assert theirs.not_before_s >= 160.0
    assert held.not_before_s >= 100.0 + 0.9 * 900
    for pace in (ours, theirs, held):
        pace.link_came_up(101.0, 0.5, 0)
    assert ours.not_before_s <= 102.0
    assert ours.attempt == 0
    assert theirs.not_before_s >= 160.0
    assert held.not_before_s >= 900.0


def test_a_wait_that_somebody_unsigned_asked_for_ends_when_the_link_changes() -> None:
    pace = Pace()
    pace.failed(0.0, 0.5, after_s=300.0)
    pace.link_came_up(10.0, 0.5, 0)
    assert pace.not_before_s <= 12.0


def test_a_single_station_follows_within_two_seconds_and_a_thousand_over_half_a_minute() -> None:
    assert spread_s(0) <= 2
    assert spread_s(1) <= 2
    assert spread_s(1_000) >= 30
    assert spread_s(10**9) <= 300
    delays = []
    for number in range(1_000):
        pace = Pace()
        pace.link_came_up(0.0, number / 1_000, 1_000)
        delays.append(pace.not_before_s)
    assert max(delays) - min(delays) >= 30
    busiest = max(sum(start <= delay < start + 1 for delay in delays) for start in range(36))
    assert busiest <= 50


@given(st.floats(0, 1, exclude_max=True), st.floats(1, 3_600))
def test_a_re_check_keeps_to_its_quarter_of_an_hour(draw: float, recheck_s: float) -> None:
    assert 0.9 * recheck_s <= recheck_in_s(recheck_s, draw) <= recheck_s


def test_the_fleet_s_size_is_believed_where_it_is_a_number() -> None:
    assert fleet_of({"fleet": 7}, 3) == 7
    assert [fleet_of({"fleet": wrong}, 3) for wrong in (None, "7", -1, 1.5, True)] == [3] * 5
    assert fleet_of({}, 3) == 3


def test_the_fleet_s_size_is_written_where_the_spread_changes_much() -> None:
    assert not worth_keeping(20, 0)  # both follow within a second
    assert worth_keeping(1_000, 0)
    assert worth_keeping(0, 1_000)
    assert not worth_keeping(1_100, 1_000)
    assert worth_keeping(1_300, 1_000)
    kept, writes = 100, 0
    for fleet in range(100, 1_001):
        if worth_keeping(fleet, kept):
            kept, writes = fleet, writes + 1
    assert writes <= 12
