"""The board's conditions at their limits, and the patience with which they come and go."""

from __future__ import annotations

from typing import Any

import pytest

from aquasmart_station.core.diagnosis import BoardFigures, Conditions, judge

NONE: frozenset[str] = frozenset()
MIB = 1 << 20


def shown(former: frozenset[str] = NONE, **figures: Any) -> frozenset[str]:
    return judge(BoardFigures(**({"clock": "ntp"} | figures)), former, supply_low_mv=4_750)


def test_a_board_without_sensors_has_no_conditions() -> None:
    assert shown() == NONE


@pytest.mark.parametrize(
    ("bits", "conditions"),
    [
        (0x0, NONE),
        (0x1, {"rail-low"}),
        (0x2, {"throttled"}),
        (0x4, {"throttled"}),
        (0x8, {"throttled"}),
        (0x50005, {"rail-low", "throttled"}),
        (0x50000, NONE),
    ],
)
def test_the_firmwares_bits_say_what_is_so_now_not_what_was(bits: int, conditions: frozenset[str]) -> None:
    assert shown(throttled=bits) == conditions


@pytest.mark.parametrize(
    ("name", "figures", "bad", "between"),
    [
        ("rail-low", {}, {"supply_mv": 4_749}, {"supply_mv": 4_849}),
        ("hot", {}, {"temperature_mc": 80_000}, {"temperature_mc": 75_000}),
        ("memory-low", {}, {"memory_available_bytes": 32 * MIB - 1}, {"memory_available_bytes": 48 * MIB - 1}),
        ("disk-low", {"disk_bytes": 9_000 * MIB}, {"disk_free_bytes": 64 * MIB - 1}, {"disk_free_bytes": 96 * MIB - 1}),
        ("disk-low", {"disk_bytes": 100 * MIB}, {"disk_free_bytes": 5 * MIB - 1}, {"disk_free_bytes": 7 * MIB}),
    ],
)  # fmt: skip
def test_a_condition_has_two_limits(
    name: str, figures: dict[str, int], bad: dict[str, int], between: dict[str, int]
) -> None:
    assert shown(**figures, **bad) == {name}
    assert shown(**figures, **between) == NONE
    assert shown(frozenset({name}), **figures, **between) == {name}
    ((key, value),) = between.items()
    beyond = value - MIB if key == "temperature_mc" else value + MIB
    assert shown(frozenset({name}), **figures, **{key: beyond}) == NONE


def test_a_monitors_own_alarm_is_believed_and_an_unset_clock_is_one() -> None:
    assert shown(supply_alarm=True) == {"rail-low"}
    assert shown(supply_alarm=False) == NONE
    assert shown(clock="unset") == {"clock-unset"}
    assert shown(clock="rtc") == NONE


def test_a_condition_appears_at_once_and_is_over_after_a_minutes_absence() -> None:
    conditions = Conditions()
    assert not conditions.look(0, NONE)
    assert conditions.look(100, frozenset({"hot"}))
    assert not conditions.look(200, frozenset({"hot"}))
    assert not conditions.look(60_199, NONE), "it may be back"
    assert conditions.active == {"hot"}
    assert conditions.look(60_200, NONE)
    assert conditions.active == NONE


def test_a_flapping_condition_is_told_once() -> None:
    conditions = Conditions()
    changes = [
        conditions.look(ms, frozenset({"rail-low"}) if ms // 1000 % 20 < 10 else NONE) for ms in range(0, 600_000, 100)
    ]
    assert sum(changes) == 1


def test_a_block_has_the_figures_that_the_board_has() -> None:
    assert BoardFigures("rtc", supply_mv=5_100, temperature_mc=0).row_data() == {
        "clock": "rtc",
        "supply_mv": 5_100,
        "temperature_mc": 0,
    }
