"""A count that should move and does not; words for it."""

from __future__ import annotations

from fractions import Fraction

from aquasmart_station.core.model import MeterTraits, Scale
from aquasmart_station.core.watching import Alarm, MeterWatch, Sight, WatchSettings, words_for
from tests.unit.station.meter_world import K450

FLOW_UL_S = 133_333
DAY_MS = 86_400_000


def watch(scale: Scale = K450, **settings: int) -> MeterWatch:
    """A watch of a meter whose qmax is 1 l/s, at position 1,000 since 0 ms."""
    made = MeterWatch(MeterTraits(scale, 1 << 32, 1_000_000, True, False), WatchSettings(**settings))
    assert made.look(Sight(0, 1_000)) is None
    return made


def shown(eyes: MeterWatch, from_ms: int, polls: int, position: int = 1_000, **figures: object) -> list[Alarm]:
    """Polls at 10 Hz with the same figures; the alarms they raise."""
    figures = {"flow_ul_s": FLOW_UL_S} | figures
    found = [eyes.look(Sight(from_ms + number * 100, position, **figures)) for number in range(1, polls + 1)]
    return [alarm for alarm in found if alarm]


def test_flow_that_is_shown_and_not_counted_is_a_stuck_sensor_after_ten_seconds() -> None:
    eyes = watch()
    assert shown(eyes, 0, 99) == []
    (alarm,) = shown(eyes, 9_900, 1)
    assert alarm.row_data() == {
        "metric": "stuck",
        "counts": 1_000,
        "unchanged_ms": 10_000,
        "flow_ul_s": FLOW_UL_S,
        "expected_ul": FLOW_UL_S * 10,
        "said_by_meter": False,
    }
    assert eyes.stuck
    assert shown(eyes, 10_000, 500) == [], "one row an episode"


def test_it_is_found_over_several_short_pours_and_is_not_over_when_the_tap_is_shut() -> None:
    eyes = watch()
    assert shown(eyes, 0, 60) == []
    assert shown(eyes, 6_000, 600, flow_ul_s=0) == []
    assert len(shown(eyes, 66_000, 60)) == 1
    assert shown(eyes, 72_000, 6_000, flow_ul_s=0) == []
    assert eyes.stuck
    assert shown(eyes, 672_000, 1, position=1_001) == []
    assert not eyes.stuck
    assert len(shown(eyes, 672_100, 100, position=1_001)) == 1, "again: another episode"


def test_counts_that_follow_the_flow_are_not_stuck() -> None:
    eyes = watch()
    for second in range(1, 600):
        assert shown(eyes, second * 1000, 1, position=1_000 + second) == []
    assert not eyes.stuck


def test_noise_around_zero_and_a_coarse_meters_patience_are_not_stuck() -> None:
    assert shown(watch(), 0, 3_000, flow_ul_s=9_999) == [], "below a hundredth of qmax"
    coarse = watch(Scale.from_k_factor(Fraction(1)))
    assert shown(coarse, 0, 225) == [], "22.5 s of 8 l a minute are three counts of a litre, not more"
    assert len(shown(coarse, 22_500, 1)) == 1


def test_time_that_nobody_watched_shows_nothing() -> None:
    eyes = watch()
    eyes.look(Sight(100, 1_000, FLOW_UL_S))
    assert eyes.look(Sight(60_100, 1_000, FLOW_UL_S)) is None
    assert not eyes.stuck


def test_a_fault_that_the_meter_itself_reports_is_believed_at_once() -> None:
    eyes = watch()
    (alarm,) = shown(eyes, 0, 1, flow_ul_s=0, sensor_fault=True)
    assert alarm.figures["said_by_meter"] is True
    assert shown(eyes, 100, 1, position=1_005, sensor_fault=True) == []
    assert eyes.stuck, "counts do not end it while the meter goes on saying so"
    assert shown(eyes, 200, 1, position=1_010) == []
    assert not eyes.stuck


def test_an_open_valve_without_a_count_and_days_without_one_are_no_flow() -> None:
    eyes = watch()
    assert shown(eyes, 0, 99, flow_ul_s=None, valve_open=True) == []
    (alarm,) = shown(eyes, 9_900, 1, flow_ul_s=None, valve_open=True)
    assert alarm.row_data() == {"metric": "no-flow", "counts": 1_000, "unchanged_ms": 10_000, "valve_open": True}
    shown(eyes, 10_000, 1, position=1_001, flow_ul_s=0)
    assert not eyes.no_flow
    assert shown(eyes, 3 * DAY_MS + 10_000, 1, position=1_001, flow_ul_s=0) != []
    never = watch(no_flow_after_ms=0)
    assert shown(never, 300 * DAY_MS, 1, flow_ul_s=0) == []


def test_another_position_after_a_change_of_stream_is_no_count() -> None:
    eyes = watch()
    shown(eyes, 0, 100)
    eyes.forget()
    assert shown(eyes, 10_000, 50, position=5) == []
    assert eyes.stuck
    shown(eyes, 15_000, 1, position=6)
    assert not eyes.stuck


def test_words_say_what_to_do() -> None:
    assert words_for(frozenset()) == ""
    assert "sensor" in words_for(frozenset({"stuck"}))
    both = words_for(frozenset({"leak", "stuck"}))
    assert both.index("sensor") < both.index("leak")
