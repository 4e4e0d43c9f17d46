"""Pours from positions: where they begin and end, and their figures."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.model import Scale
from aquasmart_station.core.pours import Pour, Pours

K450 = Scale(20_000, 9)
ML = Scale(1000, 1)


def follow(steps: list[tuple[int, int]], scale: Scale = ML) -> tuple[Pours, list[Pour]]:
    """Positions as (ms, counts) and the pours they end."""
    pours = Pours(scale)
    found = [pours.observe(ms, counts) for ms, counts in steps]
    return pours, [pour for pour in found if pour]


def poured(from_ms: int, duration_ms: int, counts_a_poll: int, start: int = 0) -> list[tuple[int, int]]:
    """Ten polls a second while water runs, the first still standing."""
    return [(from_ms + step * 100, start + step * counts_a_poll) for step in range(duration_ms // 100 + 1)]


def still(from_ms: int, duration_ms: int, counts: int) -> list[tuple[int, int]]:
    return [(from_ms + step * 100, counts) for step in range(1, duration_ms // 100 + 1)]


def test_a_pour_ends_after_two_seconds_without_a_count() -> None:
    steps = poured(1_000, 5_000, 13) + still(6_000, 1_900, 650)
    pours, found = follow(steps)
    assert found == []
    assert pours.flowing
    pour = pours.observe(8_000, 650)
    assert pour == Pour(0, 650, 650_000, 5_000, 130_000, 130_000, 130_000)
    assert not pours.flowing
    assert pours.observe(8_100, 650) is None


def test_the_dribble_belongs_to_it_and_its_time_counts() -> None:
    steps = [*poured(0, 3_000, 10), (3_900, 300), (4_000, 301), *still(4_000, 2_000, 301)]
    _, (pour,) = follow(steps)
    assert (pour.to_counts, pour.duration_ms, pour.mean_ul_s) == (301, 4_000, 75_250)
    assert pour.peak_ul_s == 100_000


def test_two_pours_with_a_pause_between_are_two() -> None:
    steps = poured(0, 1_000, 5) + still(1_000, 2_000, 50) + poured(3_100, 1_000, 7, 50) + still(4_100, 2_000, 120)
    _, found = follow(steps)
    assert [(pour.from_counts, pour.to_counts) for pour in found] == [(0, 50), (50, 120)]


def test_its_volume_is_the_price_of_its_positions() -> None:
    pours = Pours(K450)
    pours.observe(0, 1_000_000)
    pours.observe(100, 1_000_450)
    pour = pours.close()
    assert pour is not None
    assert pour.volume_ul == 1_000_000
    assert pour.peak_ul_s == pour.mean_ul_s == 10_000_000
    assert pour.level_ul_s is None


def test_a_noisy_line_does_not_cut_a_pour_but_a_long_silence_ends_it() -> None:
    bridged = [*poured(0, 1_000, 5), (10_900, 90), *still(10_900, 2_000, 90)]
    _, (pour,) = follow(bridged)
    assert (pour.from_counts, pour.to_counts) == (0, 90)
    cut = [*poured(0, 1_000, 5), (11_200, 90), *poured(11_300, 500, 5, 95), *still(11_800, 2_000, 120)]
    _, found = follow(cut)
    assert [(pour.from_counts, pour.to_counts) for pour in found] == [(0, 50), (90, 120)]


def test_silence_ends_a_pour_without_a_reading() -> None:
    pours, _ = follow(poured(0, 1_000, 5))
    assert pours.expire(11_000) is None
    pour = pours.expire(11_001)
    assert pour is not None
    assert pour.to_counts == 50
    assert pours.expire(20_000) is None


def test_an_open_valve_begins_a_pour_and_one_without_a_count_is_none() -> None:
    pours = Pours(ML)
    pours.observe(0, 7, valve_open=False)
    pours.observe(100, 7, valve_open=True)
    assert pours.begun_ms == 100
    pours.observe(600, 9, valve_open=True)
    pours.observe(5_000, 9, valve_open=True)
    assert pours.flowing, "a pause while the valve is open is a pause of the same pour"
    pours.observe(5_100, 9, valve_open=False)
    pour = pours.observe(7_000, 9, valve_open=False)
    assert pour is not None
    assert (pour.from_counts, pour.to_counts, pour.duration_ms) == (7, 9, 4_900)
    pours.observe(7_100, 9, valve_open=True)
    pours.observe(7_200, 9, valve_open=False)
    assert pours.observe(9_200, 9, valve_open=False) is None
    assert not pours.flowing


def test_what_was_forgotten_is_no_pour() -> None:
    pours, _ = follow(poured(0, 1_000, 5))
    pours.forget()
    assert pours.close() is None
    assert pours.observe(1_100, 3) is None, "the first position of another stream moves nothing"
    assert not pours.flowing


def test_a_pour_that_does_not_end_keeps_a_bounded_memory() -> None:
    pours = Pours(ML)
    for second in range(6_000):
        pours.observe(second * 1000, second * 3)
    assert pours._open is not None
    assert len(pours._open.slices) == 4_096
    pour = pours.close()
    assert pour is not None
    assert (pour.volume_ul, pour.level_ul_s) == (5_999 * 3_000, 3_000)


@given(st.lists(st.tuples(st.integers(50, 4_000), st.sampled_from([0, 0, 1, 7])), min_size=1, max_size=200))
def test_every_count_of_a_steady_line_is_in_exactly_one_pour(steps: list[tuple[int, int]]) -> None:
    pours = Pours(K450)
    ms = counts = 0
    pours.observe(0, 0)
    found = []
    for gap_ms, new in steps:
        ms, counts = ms + gap_ms, counts + new
        found.append(pours.observe(ms, counts))
    found.append(pours.close())
    closed = [pour for pour in found if pour]
    assert sum(pour.to_counts - pour.from_counts for pour in closed) == counts
    assert all(pour.from_counts < pour.to_counts for pour in closed)
    assert all(one.to_counts <= other.from_counts for one, other in pairwise(closed))
    assert all(pour.volume_ul == K450.volume_ul(pour.from_counts, pour.to_counts) for pour in closed)
    assert all(pour.mean_ul_s <= pour.peak_ul_s for pour in closed)
