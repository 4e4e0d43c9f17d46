"""When a boot's time is known, and what that does to rows that came before."""

from __future__ import annotations

import pytest

from aquasmart_station.core.boot_clock import SECOND_THOUGHT_MS, STEADY_MS, BootClock, BootOffset

TRUE_MS = 1_763_676_000_000
"""Wall time at monotonic 0."""


def watched(clock: BootClock, looks: list[tuple[int, int, str]]) -> BootOffset | None:
    """The last answer to looks of (monotonic, offset, quality)."""
    found = None
    for mono_ms, offset_ms, quality in looks:
        found = clock.observe(mono_ms, mono_ms + offset_ms, quality)
        if found is not None:
            clock.keep(found)
    return found


def test_a_clock_that_is_not_set_teaches_nothing() -> None:
    assert watched(BootClock(), [(step * 60_000, 0, "unset") for step in range(20)]) is None


@pytest.mark.parametrize("quality", ["restored", "rtc", "ntp"])
def test_a_time_that_has_stood_is_known_from_its_first_look_on(quality: str) -> None:
    clock = BootClock()
    assert clock.observe(5_000, 5_000 + TRUE_MS, quality) is None
    assert clock.observe(5_000 + STEADY_MS - 1, 5_000 + STEADY_MS - 1 + TRUE_MS, quality) is None
    assert clock.observe(5_000 + STEADY_MS, 5_000 + STEADY_MS + TRUE_MS, quality) == BootOffset(TRUE_MS, quality, 5_000)


def test_it_is_told_until_it_is_kept_and_then_no_more() -> None:
    clock = BootClock()
    clock.observe(0, TRUE_MS, "ntp")
    told = clock.observe(STEADY_MS, STEADY_MS + TRUE_MS, "ntp")
    assert told is not None
    assert clock.observe(STEADY_MS + 1, STEADY_MS + 1 + TRUE_MS, "ntp") == told
    clock.keep(told)
    assert clock.observe(STEADY_MS + 2, STEADY_MS + 2 + TRUE_MS, "ntp") is None
    assert clock.observe(10 * SECOND_THOUGHT_MS, 10 * SECOND_THOUGHT_MS + TRUE_MS + 900, "ntp") is None


def test_a_glitch_to_2038_of_a_few_seconds_leaves_no_trace() -> None:
    clock = BootClock(BootOffset(TRUE_MS, "ntp", 0))
    glitch = [(60_000 + step * 1_000, TRUE_MS + 10**12, "ntp") for step in range(300)]
    after = [(400_000 + step * 1_000, TRUE_MS, "ntp") for step in range(2_000)]
    assert watched(clock, glitch + after) is None


def test_the_better_source_wins_at_once_and_the_worse_never() -> None:
    clock = BootClock(BootOffset(TRUE_MS - 86_400_000, "rtc", 0))
    better = watched(clock, [(100_000, TRUE_MS, "ntp"), (100_000 + STEADY_MS, TRUE_MS, "ntp")])
    assert better == BootOffset(TRUE_MS, "ntp", 100_000)
    worse = [(200_000 + step * 60_000, TRUE_MS + 5_000, "rtc") for step in range(60)]
    assert watched(clock, worse) is None


def test_another_time_of_the_same_quality_is_believed_after_ten_minutes() -> None:
    clock = BootClock(BootOffset(TRUE_MS, "rtc", 0))
    looks = [(step * 1_000, TRUE_MS + 86_400_000, "rtc") for step in range(SECOND_THOUGHT_MS // 1_000)]
    assert watched(clock, looks) is None
    assert watched(clock, [(SECOND_THOUGHT_MS, TRUE_MS + 86_400_000, "rtc")]) == BootOffset(
        TRUE_MS + 86_400_000, "rtc", 0
    )


def test_rows_before_it_was_known_get_the_right_time_and_later_ones_keep_theirs() -> None:
    known = BootOffset(TRUE_MS, "ntp", 3_000)
    mono_ms = (1_000, 2_000, 3_000, 4_000)
    assert known.corrected((1_000, 2_000, TRUE_MS + 3_001, TRUE_MS + 4_002), mono_ms) == [
        TRUE_MS + 1_000,
        TRUE_MS + 2_000,
        TRUE_MS + 3_001,
        TRUE_MS + 4_002,
    ]
    later = (TRUE_MS + 4_002, TRUE_MS + 5_000)
    assert known.corrected(later, (4_000, 5_000)) is later
