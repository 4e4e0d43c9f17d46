"""The moments against exact arithmetic, and what a detector makes of them."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquasmart_station.core.anomaly import FLOW, Anomaly, Detector, Gauge, Metric, MinuteMedian, Sensitivity
from aquasmart_station.core.rolling import RollingMoments

PLAIN = Metric("plain", floor=1.0, guard=0)


def exact(samples: list[int]) -> tuple[Fraction, Fraction]:
    """Mean and variance as fractions."""
    count = len(samples)
    mean = Fraction(sum(samples), count)
    return mean, Fraction(sum(value * value for value in samples), count) - mean * mean


def hostile(chance: random.Random) -> Iterator[int]:
    """A level that is large beside its noise, and now and then a spike ten orders above it."""
    while True:
        level = 10 ** chance.randint(0, 9)
        for _ in range(chance.randint(1, 5_000)):
            yield level + chance.randint(-50, 50) + (10**12 if chance.random() < 0.0005 else 0)


def test_a_million_samples_in_and_out_do_not_drift() -> None:
    values, window = hostile(random.Random(1)), 120
    moments, kept = RollingMoments(window), deque[int](maxlen=window)
    for number in range(1_000_000):
        value = next(values)
        kept.append(value)
        moments.add(value)
        if number % 997 == 0 or number > 999_900:
            mean, variance = exact(list(kept))
            assert moments.mean == pytest.approx(float(mean), rel=1e-12)
            assert moments.sd == pytest.approx(sqrt(variance), rel=1e-7)
    assert moments.sd == pytest.approx(statistics.pstdev(kept), rel=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=200), st.integers(2, 30))
def test_any_samples_have_the_moments_of_their_window(samples: list[int], window: int) -> None:
    moments = RollingMoments(window)
    for number, value in enumerate(samples):
        moments.add(value)
        mean, variance = exact(samples[max(0, number + 1 - window) : number + 1])
        reach = max(map(abs, samples[: number + 1]))
        assert moments.mean == pytest.approx(float(mean), rel=1e-9, abs=1e-9 * reach)
        assert moments.sd == pytest.approx(sqrt(variance), rel=1e-6, abs=1e-6 * reach)
    assert len(moments) == min(len(samples), window)


def test_a_window_of_one_has_no_deviation_and_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        RollingMoments(1)


def warm(metric: Metric = PLAIN, sensitivity: Sensitivity | None = None, level: int = 1_000) -> Detector:
    """A detector that knows a level with a deviation of ten."""
    detector = Detector(metric, sensitivity or Sensitivity())
    for number in range(120 + metric.guard):
        assert detector.judge(level + (10 if number % 2 else -10)) is None
    return detector


def judged(detector: Detector, values: list[int]) -> list[int]:
    """Which of the values began an episode."""
    return [number for number, value in enumerate(values) if detector.judge(value)]


def test_three_in_a_row_beyond_the_threshold_begin_an_episode_with_its_figures() -> None:
    detector = warm()
    assert judged(detector, [1_035, 1_035]) == []
    found = detector.judge(1_050)
    assert isinstance(found, Anomaly)
    assert detector.active
    data = found.row_data()
    assert list(data) == ["metric", "value", "mean", "sd", "z", "threshold"]
    assert (data["metric"], data["value"], data["threshold"]) == ("plain", 1_050, 3.0)
    assert data["z"] == pytest.approx((1_050 - found.mean) / found.sd, abs=0.01)
    assert 1_000 < found.mean < 1_001
    assert 10 < found.sd < 12


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ([1_040, 1_040, 1_000, 1_040, 1_040, 1_000], []),
        ([1_040, 1_040, 960, 960, 1_040], []),
        ([960, 960, 960], [2]),
        ([1_100], [0]),
        ([900], [0]),
        ([1_080], []),
    ],
)
def test_two_are_not_enough_sides_do_not_mix_and_one_far_out_is(values: list[int], begins: list[int]) -> None:
    assert judged(warm(), values) == begins


def test_an_episode_is_one_row_and_ends_only_below_the_lower_threshold() -> None:
    detector = warm(Metric("plain", floor=1.0, guard=200))
    assert judged(detector, [1_100] * 20) == [0]
    assert judged(detector, [1_025, 1_025, 1_025]) == []
    assert detector.active, "2.5 deviations are within the threshold, and above two thirds of it"
    assert judged(detector, [1_015, 1_015]) == []
    assert detector.active
    assert judged(detector, [1_015]) == []
    assert not detector.active
    assert judged(detector, [1_100]) == [0], "what comes again is another episode"


def test_a_changed_threshold_acts_at_the_next_judgement() -> None:
    sensitivity = Sensitivity()
    detector = warm(sensitivity=sensitivity)
    assert judged(detector, [1_025] * 5) == []
    sensitivity.set_threshold(2.0)
    assert judged(detector, [1_030] * 3) == [2]
    with pytest.raises(ValueError, match="threshold"):
        sensitivity.set_threshold(0.5)


def test_nothing_is_judged_before_the_warm_up() -> None:
    detector = Detector(PLAIN, Sensitivity(window=120, warm_up=30))
    assert judged(detector, [1_000, 5_000] * 15) == []
    assert not detector.active


def test_what_matters_to_nobody_is_no_anomaly_however_still_it_was() -> None:
    detector = Detector(Metric("plain", floor=100.0, guard=0), Sensitivity())
    assert judged(detector, [1_000] * 200 + [1_200] * 20) == []
    assert judged(detector, [2_500]) == [0]
    relative = Detector(Metric("plain", floor=0.001, floor_part=0.1, guard=0), Sensitivity())
    assert judged(relative, [1_000] * 200 + [1_290] * 3) == []
    assert judged(relative, [2_000]) == [0]


def test_an_outlier_does_not_blind_the_detector() -> None:
    detector = warm()
    assert judged(detector, [10**9]) == [0]
    assert judged(detector, [1_000] * 3) == []
    assert judged(detector, [1_200]) == [0]


def test_a_lasting_step_becomes_the_new_usual() -> None:
    detector = warm(FLOW, level=100_000)
    assert judged(detector, [130_000] * 200) == [2]
    assert not detector.active


def test_a_change_is_judged_instead_of_the_value_where_the_metric_says_so() -> None:
    slope = Metric("slope", floor=50.0, guard=0, change_over=10)
    detector = Detector(slope, Sensitivity())
    assert judged(detector, list(range(0, 5_000, 10))) == [], "a steady rise is what it does"
    found = [detector.judge(5_000 + 100 * step) for step in range(10)]
    assert any(found)


def test_a_median_a_minute_or_over_five_samples() -> None:
    minute = MinuteMedian()
    found = [minute.add(number * 100, number % 7) for number in range(1, 1_300)]
    assert [value for value in found if value is not None] == [3, 3]
    slow = MinuteMedian()
    assert [slow.add(number * 30_000, number) for number in range(5)] == [None] * 4 + [2]


def test_a_gauge_is_deaf_to_single_samples() -> None:
    gauge = Gauge(PLAIN, Sensitivity())
    chance = random.Random(3)
    found = []
    for number in range(200 * 60):
        value = 10**6 if number % 10 == 0 else 1_000 + chance.randint(-20, 20)
        found.append(gauge.sample(number * 1000, value))
    assert not any(found)
    assert not gauge.active
    late = [gauge.sample((12_000 + number) * 1000, 5_000) for number in range(150)]
    assert any(late)
    assert gauge.active
