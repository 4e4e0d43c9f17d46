"""Water that is nobody's pour: long, slow, through a closed valve; and what only looks like it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from aquasmart_station.core.leaks import LeakWatch
from aquasmart_station.core.model import Scale
from aquasmart_station.core.pours import Pours
from aquasmart_station.core.watching import Alarm, Sight, WatchSettings
from tests.unit.station.meter_world import K450


@dataclass
class Tap:
    """A tap whose water is measured in whole polls of 100 ms; a leak adds a count every so many polls."""

    scale: Scale = K450
    settings: WatchSettings = field(default_factory=WatchSettings)
    drip_every: int = 0
    valve_open: bool | None = None
    ms: int = 0
    position: int = 1_000_000
    polls: int = 0

    def __post_init__(self) -> None:
        self.leaks, self.pours = LeakWatch(self.scale, self.settings), Pours(self.scale)
        self.alarms: list[Alarm] = []
        self.leaked = 0
        """Counts that the next reading after `booked` was set would book as the leak's."""

    def run(self, seconds: float, counts_a_poll: int = 0) -> list[Alarm]:
        """Let time pass with so much water; the alarms of that time."""
        known = len(self.alarms)
        for _ in range(round(seconds * 10)):
            self.poll(counts_a_poll)
        return self.alarms[known:]

    def poll(self, counts: int) -> None:
        self.ms += 100
        self.polls += 1
        counts += bool(self.drip_every) and self.polls % self.drip_every == 0
        self.leaked += counts if self.leaks.booked else 0
        self.position += counts
        if self.leaks.pattern != "long":
            self.pours.observe(self.ms, self.position, valve_open=self.valve_open)
        alarm = self.leaks.look(
            Sight(
                self.ms,
                self.position,
                valve_open=self.valve_open,
                pour_since_ms=self.pours.begun_ms,
                pour_ul=self.pours.volume_ul,
            )
        )
        if self.leaks.pattern == "long":
            self.pours.forget()
        self.alarms += [alarm] if alarm else []


QUICK = WatchSettings(leak_after_ms=60_000, slow_leak_after_ms=120_000)


def test_flow_that_lasts_longer_than_any_pour_is_a_leak_from_then_on() -> None:
    tap = Tap()
    tap.run(10)
    assert tap.run(1_799.9, 6) == []
    assert not tap.leaks.booked
    (alarm,) = tap.run(0.1, 6)
    assert alarm.row_data() == {
        "metric": "leak",
        "pattern": "long",
        "lasted_ms": 1_800_000,
        "volume_ul": 18_000 * 6 * 20_000 // 9,
        "flow_ul_s": 133_333,
        "counts": 1_108_000,
    }
    assert tap.run(3_600, 6) == [], "one row an episode"
    assert tap.leaked == 36_000 * 6


def test_a_long_leak_is_over_after_a_minute_of_stillness() -> None:
    tap = Tap(settings=QUICK)
    tap.run(61, 6)
    assert tap.leaks.pattern == "long"
    tap.run(30)
    tap.run(1, 6)
    assert tap.leaks.pattern == "long", "a pause shorter than a minute does not end it"
    tap.run(60)
    assert tap.leaks.pattern is None
    assert not tap.leaks.booked
    assert tap.run(30, 6) == []
    assert len(tap.run(60, 6)) == 1


@pytest.mark.parametrize("every_s", [2.5, 10, 60, 100])
def test_a_drip_between_pours_is_found_in_thirty_five_minutes_without_one(every_s: float) -> None:
    tap = Tap()
    tap.run(5, 6)
    assert tap.run(3_600) == []
    tap.drip_every = int(every_s * 10)
    found = tap.run(35 * 60)
    assert [alarm.figures["pattern"] for alarm in found] == ["slow"]
    assert tap.leaks.booked
    leaked_ul_s = 20_000 / 9 / every_s
    assert found[0].figures["flow_ul_s"] == pytest.approx(leaked_ul_s, rel=0.2)


def test_a_trickle_too_quick_for_pauses_is_no_pour() -> None:
    tap = Tap()
    tap.drip_every = 12
    (alarm,) = tap.run(35 * 60)
    assert alarm.figures["pattern"] == "long"
    assert alarm.figures["flow_ul_s"] == pytest.approx(1_852, rel=0.01)


def test_pours_under_a_slow_leak_stay_volume_but_for_their_first_centilitre() -> None:
    tap = Tap(settings=QUICK, drip_every=50)
    tap.run(300)
    assert tap.leaks.pattern == "slow"
    tap.run(300)
    before = tap.leaked
    tap.run(20, 6)
    assert tap.leaked - before <= 7
    tap.run(2.5)
    before = tap.leaked
    tap.run(60)
    assert tap.leaked - before == 12


def test_a_slow_leak_is_over_after_a_part_without_a_count() -> None:
    tap = Tap(settings=QUICK, drip_every=50)
    tap.run(300)
    tap.drip_every = 0
    tap.run(41)
    assert tap.leaks.pattern is None
    assert tap.run(600) == []


def test_a_long_leak_displaces_a_slow_one() -> None:
    tap = Tap(settings=QUICK, drip_every=50)
    tap.run(300)
    tap.drip_every = 0
    (alarm,) = tap.run(70, 6)
    assert (alarm.figures["pattern"], tap.leaks.pattern) == ("long", "long")


def test_late_dribbles_and_small_cups_are_no_leak() -> None:
    tap = Tap()
    for _ in range(60):
        tap.run(8, 6)
        tap.run(20)
        tap.poll(1)
        tap.run(92)
    assert tap.alarms == []
    tap.run(3_600)
    for _ in range(60):
        tap.run(1, 1)
        tap.run(60)
    assert tap.alarms == [], "two centilitres in a second are somebody's"


def test_drips_that_pause_are_not_continuous() -> None:
    tap = Tap()
    tap.run(60)
    for _ in range(6):
        tap.drip_every = 100
        tap.run(20 * 60)
        tap.drip_every = 0
        tap.run(11 * 60)
    assert tap.alarms == []


def test_a_coarse_meter_has_no_slow_leak() -> None:
    tap = Tap(scale=Scale(10_001, 1), drip_every=600)
    assert tap.run(7_200) == []
    fine = Tap(scale=Scale(10_000, 1), drip_every=600)
    assert len(fine.run(7_200)) == 1


def test_counts_through_a_closed_valve_are_a_leak_but_its_last_drops_are_not() -> None:
    tap = Tap(valve_open=True)
    tap.run(10, 6)
    tap.valve_open = False
    assert tap.run(1.9, 2) == []
    tap.run(60)
    assert tap.run(0.4, 1) == []
    (alarm,) = tap.run(0.1, 1)
    assert alarm.figures["pattern"] == "valve"
    assert alarm.figures["volume_ul"] == pytest.approx(5 * 20_000 / 9, abs=1)
    assert tap.leaks.booked
    tap.valve_open = True
    tap.run(0.1)
    assert tap.leaks.pattern is None
    assert tap.run(30, 6) == []


def test_a_change_of_stream_leaks_nothing() -> None:
    tap = Tap(valve_open=False)
    tap.run(10)
    tap.leaks.forget()
    tap.pours.forget()
    tap.position = 5
    assert tap.run(10) == []


def test_what_happened_while_nobody_watched_is_no_drip() -> None:
    tap = Tap(settings=QUICK)
    tap.run(60)
    for _ in range(30):
        tap.ms += 60_000
        tap.position += 3
        tap.run(1)
    assert tap.alarms == []
