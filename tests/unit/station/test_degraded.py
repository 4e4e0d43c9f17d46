"""Reasons for being degraded: the set, what covers what, and that each says what to do."""

from __future__ import annotations

import pytest

from aquasmart_station.core import degraded
from aquasmart_station.core.degraded import DISK_FULL, DISK_LOW, WORDS, Reasons, words
from aquasmart_station.core.diagnosis import BoardFigures, Conditions, judge


def test_a_full_disk_is_not_also_low() -> None:
    reasons = Reasons()
    reasons.set(DISK_LOW)
    assert reasons.note() == ["disk-low"]
    reasons.set(DISK_FULL)
    assert reasons.active == {"disk-full"}
    assert reasons.changed
    assert reasons.note() == ["disk-full"]
    reasons.clear(DISK_LOW)
    assert not reasons.changed, "nobody need be told"
    reasons.clear(DISK_FULL)
    assert reasons.note() == []


def test_what_is_covered_is_over_at_once_and_back_when_it_shows_again() -> None:
    conditions, low = Conditions(), frozenset({DISK_LOW})
    assert conditions.look(0, low | {"hot"})
    assert conditions.look(10, low, covered=low)
    assert conditions.active == {"hot"}
    assert not conditions.look(20, frozenset()), "it does not linger for its minute"
    assert conditions.look(30, low)
    assert conditions.active == low | {"hot"}


@pytest.mark.parametrize("reason", sorted(WORDS))
def test_every_reason_has_words_that_say_more_than_its_name(reason: str) -> None:
    assert words(reason) == WORDS[reason] != reason
    assert words(f"{reason}:tap-1") == f"tap-1: {WORDS[reason]}"


def test_every_condition_has_words() -> None:
    worst = BoardFigures(
        "unset", throttled=15, supply_mv=1, temperature_mc=99_000, disk_free_bytes=1, disk_bytes=1 << 30,
        memory_available_bytes=1,
    )  # fmt: skip
    of_meters = {"sensor-stuck", "leak", "no-flow", "link-down", "silent", "frozen"}
    of_log = {degraded.RING_NEAR_CAPACITY, DISK_FULL, degraded.DISK_SLOW, degraded.LOG_OVER_BUDGET, degraded.WAL_LARGE}
    assert judge(worst, frozenset(), supply_low_mv=4_750) | of_meters | of_log == WORDS.keys()
