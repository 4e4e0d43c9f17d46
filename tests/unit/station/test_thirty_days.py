"""Thirty simulated days of a tap: hardly a false alarm; and each fault that is put into a day is found in time.

The clock is accelerated, chance is seeded. Where a station judges a minute of 600 samples, the simulation gives it
ten, drawn from the same heavy-tailed noise: their median is the worse witness, so what holds here holds at 10 Hz. The
limits are those that the docstrings of `anomaly`, `leaks` and `watching` state, as readings at 10 Hz.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from math import cos, exp, pi

import pytest

from aquasmart_station.core.accounting import Account
from aquasmart_station.core.anomaly import (
    FLOW,
    INTERVAL,
    ROUND_TRIP,
    SUPPLY,
    TEMPERATURE,
    Detector,
    Gauge,
    Metric,
    Sensitivity,
)
from aquasmart_station.core.leaks import GRACE_MS
from aquasmart_station.core.model import Board, Kind, MeterTraits, Reading
from aquasmart_station.core.observing import MeterObserver
from aquasmart_station.core.watching import WatchSettings
from aquasmart_station.meters.hydraulics import HUSTLE, POURS_ML, Hydraulics, Segment
from tests.unit.station.meter_world import K450, ids

DAYS = 30
DAY_S = 86_400
READINGS_A_MINUTE = 600
SAMPLES_A_MINUTE = 10
FLOW_UL_S = 133_333
POURS_A_DAY = 300
POLL_MS = 500

Noise = Callable[[random.Random, float], float]


def round_trip(chance: random.Random, _second: float) -> float:
    """3 ms on a quiet board; one answer in fifty waits for a scheduler, with no limit to how long (Pareto)."""
    busy = 1_500 * chance.paretovariate(1.2) if chance.random() < 0.02 else 0
    return 3_000 + 200 * chance.lognormvariate(0, 0.6) + busy


def interval(chance: random.Random, _second: float) -> float:
    """A tenth of a second with jitter; one poll in a hundred is lost and the next one is late."""
    lost = chance.random() < 0.01
    return 100 * (1 + lost) + chance.gauss(0, 1) + (chance.paretovariate(1.5) if chance.random() < 0.05 else 0)


def supply(chance: random.Random, second: float) -> float:
    """5.1 V with ripple and a daily swing; now and then a pump next door pulls it down for a sample."""
    dip = 120 * chance.random() if chance.random() < 0.02 else 0
    return 5_100 + 15 * cos(2 * pi * second / DAY_S) + chance.gauss(0, 8) - dip


class Water:
    """The water's temperature: it follows the day (6 °C) and the weather, and each pour draws cooler water in."""

    def __init__(self) -> None:
        self._weather = self._cool = 0.0
        self._second = 0.0

    def __call__(self, chance: random.Random, second: float) -> float:
        passed, self._second = second - self._second, second
        self._weather += -self._weather * passed / 20_000 + chance.gauss(0, 0.02 * passed**0.5)
        self._cool *= exp(-passed / 120)
        if chance.random() < POURS_A_DAY * HUSTLE[int(second) % DAY_S // 3600] / 5 * passed / DAY_S:
            self._cool = min(self._cool + chance.uniform(0.5, 1.5), 2.0)
        sun = 6_000 * -cos(2 * pi * (second / DAY_S - 0.17))
        return 18_000 + sun + 1_000 * (self._weather - self._cool) + chance.gauss(0, 40)


def flow(chance: random.Random, number: int) -> float:
    """The level of a pour: people open a tap more or less, one in fifty hardly; the main's pressure has its day."""
    part = chance.uniform(0.85, 1.15) if chance.random() > 0.02 else chance.uniform(0.35, 0.8)
    return FLOW_UL_S * part * (1 + 0.05 * cos(2 * pi * number / POURS_A_DAY))


MINUTE_METRICS: list[tuple[Metric, Callable[[], Noise]]] = [
    (ROUND_TRIP, lambda: round_trip),
    (INTERVAL, lambda: interval),
    (SUPPLY, lambda: supply),
    (TEMPERATURE, Water),
]


def minutes(metric: Metric, noise: Noise, seed: int, days: float) -> Iterator[tuple[Gauge, int, float]]:
    """A gauge and the samples of its days, as ms and value; the caller may change a value before it gives it."""
    gauge, chance = Gauge(metric, Sensitivity()), random.Random(seed)
    step_s = 60 / SAMPLES_A_MINUTE
    for number in range(int(days * 1440 * SAMPLES_A_MINUTE)):
        second = number * step_s
        # Medians are taken over a minute: the sample that ends one stands at its end.
        yield gauge, int(second * 1000), noise(chance, second)


@pytest.mark.parametrize(("metric", "noise"), MINUTE_METRICS, ids=lambda value: getattr(value, "name", ""))
def test_thirty_quiet_days_cry_wolf_at_most_once_a_day(
    metric: Metric, noise: Callable[[], Noise], record_property: Callable[[str, object], None]
) -> None:
    alarms = Counter(
        ms // 1000 // DAY_S for gauge, ms, value in minutes(metric, noise(), 7, DAYS) if gauge.sample(ms, int(value))
    )
    record_property("false_alarms_in_thirty_days", alarms.total())
    print(
        f"{metric.name}: {alarms.total()} false alarms in {DAYS} days, at most {max(alarms.values(), default=0)} a day"
    )
    assert max(alarms.values(), default=0) <= 1


def test_thirty_days_of_pours_cry_wolf_at_most_once_a_day(record_property: Callable[[str, object], None]) -> None:
    detector, chance = Detector(FLOW, Sensitivity()), random.Random(7)
    alarms = Counter(
        number // POURS_A_DAY for number in range(DAYS * POURS_A_DAY) if detector.judge(int(flow(chance, number)))
    )
    record_property("false_alarms_in_thirty_days", alarms.total())
    print(f"flow_ul_s: {alarms.total()} false alarms in {DAYS} days, at most {max(alarms.values(), default=0)} a day")
    assert max(alarms.values(), default=0) <= 1


Fault = Callable[[float, float], float]
"""The faulty value of a sound one, so many minutes after the fault began."""


FAULTS: list[tuple[str, Metric, Callable[[], Noise], Fault, int]] = [
    ("spike", ROUND_TRIP, lambda: round_trip, lambda value, since: value * (20 if since < 2 else 1), 1_800),
    ("spike", TEMPERATURE, Water, lambda value, since: value + (15_000 if since < 2 else 0), 1_800),
    ("step", ROUND_TRIP, lambda: round_trip, lambda value, _since: value * 2, 3_000),
    ("step", INTERVAL, lambda: interval, lambda value, _since: value * 1.5, 3_000),
    ("step", SUPPLY, lambda: supply, lambda value, _since: value - 300, 3_000),
    ("drift", TEMPERATURE, Water, lambda value, since: value + 500 * since, 9_000),
    ("drift", ROUND_TRIP, lambda: round_trip, lambda value, since: value * (1 + since / 10), 9_000),
]


@pytest.mark.parametrize(
    ("name", "metric", "noise", "fault", "limit"), FAULTS, ids=[f"{each[0]} of {each[1].name}" for each in FAULTS]
)
def test_a_fault_of_the_line_the_water_or_the_supply_is_found_in_time(
    name: str, metric: Metric, noise: Callable[[], Noise], fault: Fault, limit: int
) -> None:
    found = []
    for seed in range(12):
        begins_ms = (DAY_S // 4 + seed * DAY_S // 12) * 1000 + seed * 17_000
        days = (begins_ms / 1000 + 3_600) / DAY_S
        delays = [
            (ms - begins_ms) * READINGS_A_MINUTE // 60_000
            for gauge, ms, value in minutes(metric, noise(), seed, days)
            if gauge.sample(ms, int(fault(value, (ms - begins_ms) / 60_000) if ms >= begins_ms else value))
        ]
        found.append(min((delay for delay in delays if delay >= 0), default=10**9))
    print(f"{name} of {metric.name}: found after {min(found)} to {max(found)} readings, limit {limit}")
    assert max(found) <= limit


@pytest.mark.parametrize(
    ("name", "fault", "limit"),
    [
        ("spike", lambda value, since: FLOW_UL_S * 3 if since == 1 else value, 1),
        ("drift of 1 %", lambda value, since: value * max(0.05, 1 - since / 100), 60),
        ("drift of 0.5 %", lambda value, since: value * max(0.05, 1 - since / 200), 120),
    ],
)
def test_a_fault_of_the_flow_is_found_in_time(name: str, fault: Callable[[float, int], float], limit: int) -> None:
    found = []
    for seed in range(24):
        detector, chance, begins = Detector(FLOW, Sensitivity()), random.Random(seed), 200 + 13 * seed
        for number in range(begins):
            detector.judge(int(flow(chance, number)))
        delays = [since for since in range(1, 200) if detector.judge(int(fault(flow(chance, begins + since), since)))]
        found.append(min(delays, default=10**9))
    print(f"{name} of flow: found after {min(found)} to {max(found)} pours, limit {limit}")
    assert max(found) <= limit


class Tap:
    """A tap through the observer: two polls a second while water runs and just after, one every ten seconds between.

    Where nothing changes a reading says nothing new, so the days pass quickly; the leak watch sees all of their time.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        traits = MeterTraits(K450, 1 << 32, 1_000_000, True, False)
        account = Account(
            board=Board("station-1", "boot-1", "hw", "0"),
            meter_id="tap-1",
            traits=traits,
            resume=None,
            new_id=ids(),
            clock="ntp",
        )
        self.observer = MeterObserver(
            account, traits, settings=WatchSettings(), sensitivity=Sensitivity(), period_ms=100
        )
        self.ms = 0
        self.rest = 0
        self.counts = 1_000_000
        self.drip_ul_s = 0
        self.stuck = False
        self.idle_ms = 0
        """Time in which nobody poured, nor had within the last thirty seconds."""
        self.noticed: Counter[str] = Counter()
        self.first: dict[str, int] = {}

    def advance(self, duration_ms: int, water: Hydraulics) -> None:
        """Let time pass and poll."""
        self.ms += duration_ms
        self.rest += (water.advance_ms(duration_ms) + self.drip_ul_s * duration_ms) * K450.den
        new, self.rest = divmod(self.rest, K450.ul_num * 1000)
        self.counts += 0 if self.stuck else new
        reading = Reading(
            self.ms * 1_000_000, 0, 3_000, "tap-1", None, self.counts, flow_ul_s=water.flow_ul_s, nonvolatile=True
        )
        for kind, data in self.observer.notice(reading, self.counts):
            name = "pour" if kind is Kind.POUR else data["metric"]
            self.noticed[name] += 1
            self.first.setdefault(name, self.ms)
        self.observer._waiting.clear()

    def pour(self) -> None:
        """One filling, polled at 10 Hz until it is over, and the pause that the hour of the day brings."""
        volume_ul = self.chance.choice(POURS_ML) * 1000
        level = int(flow(self.chance, self.noticed["pour"]))
        fill_ms = volume_ul * 1000 // level
        water = Hydraulics([Segment(400, level // 2), Segment(fill_ms, level), Segment(600, level // 12)])
        began_ms = self.ms
        for _ in range((fill_ms + 1_000) // POLL_MS + 6):
            self.advance(POLL_MS, water)
        busy = HUSTLE[self.ms // 1000 % DAY_S // 3600]
        pause_s = self.chance.expovariate(POURS_A_DAY * busy / 5 / DAY_S)
        if self.chance.random() < 0.05:
            self.advance(5_000, Hydraulics([Segment(5_000, 500)]))  # a late dribble, a count or two
        self.idle(pause_s)
        self.idle_ms += max(0, self.ms - began_ms - fill_ms - 1_000 - GRACE_MS)

    def idle(self, seconds: float) -> None:
        for _ in range(int(seconds) // 10):
            self.advance(10_000, Hydraulics([]))


def test_thirty_days_of_a_sound_tap_raise_nothing_and_every_pour_is_one() -> None:
    tap, poured = Tap(11), 0
    while tap.ms < DAYS * DAY_S * 1000:
        tap.pour()
        poured += 1
    print(f"{poured} pours in {DAYS} days: {dict(tap.noticed)}")
    assert set(tap.noticed) <= {"pour", "flow_ul_s"}
    assert tap.noticed["flow_ul_s"] <= DAYS
    assert tap.observer.conditions == frozenset()
    assert poured * 95 // 100 <= tap.noticed["pour"] <= poured * 110 // 100


@pytest.mark.parametrize("drip_ul_s", [40, 400, 4_000])
def test_a_slow_leak_among_pours_is_found_in_the_idle_readings_stated(drip_ul_s: int) -> None:
    """From 2.4 ml a minute (3.5 l a day) to a trickle without a pause, from noon on a day with pours."""
    worst = 0
    for seed in range(4):
        tap = Tap(seed)
        for _ in range(40):
            tap.pour()
        assert set(tap.noticed) == {"pour"}
        tap.drip_ul_s = drip_ul_s
        began_ms, tap.idle_ms = tap.ms, 0
        while "leak" not in tap.first and tap.ms < began_ms + DAY_S * 1000:
            tap.pour()
        assert "leak" in tap.first, f"{drip_ul_s} µl/s was not found in a day"
        # What was idle of the last pause after the leak was found does not count.
        worst = max(worst, (tap.idle_ms - (tap.ms - tap.first["leak"])) // 100)
    print(f"slow leak of {drip_ul_s} µl/s: found after at most {worst} idle readings")
    assert worst <= 21_000


def test_a_stuck_sensor_is_found_in_101_readings_of_flow() -> None:
    tap = Tap(5)
    for _ in range(20):
        tap.pour()
    tap.stuck = True
    water, began_ms = Hydraulics([Segment(20_000, FLOW_UL_S)]), tap.ms
    for _ in range(200):
        tap.advance(100, water)
    readings = (tap.first["stuck"] - began_ms) // 100
    print(f"stuck: found after {readings} readings of flow")
    assert readings <= 101
