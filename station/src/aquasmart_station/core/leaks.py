"""Leaks: water that is nobody's pour. Told by its length, by its smallness between pours, or by a closed valve.

Pure, in whole counts, µl and ms. From the moment a leak is declared its counts are booked with kind `leak` (meters'
page: in the total, kind `leak`, alarm); what was booked before stays as it was. Under a slow leak only what flows
outside pours is the leak's; a pour's first centilitre passes for it, until it is seen to be one.

Found, at 10 Hz with the default settings (tests/unit/station/test_leaks.py, test_thirty_days.py):
| leak | found after |
|---|---|
| long: flow without 2 s of pause | `leak_after_s`: 30 min, 18,001 readings |
| slow: counts in every five minutes in which nobody pours | seven times five such minutes: 21,000 readings |
| valve: counts while it is closed, where a driver knows the valve | the fifth such count |

A slow leak needs counts of at most `TRICKLE_UL`: on a coarser meter a single one may be a cup, and is none.
"""

from __future__ import annotations

from typing import Any

from .model import Scale
from .watching import LEAK, Alarm, Sight, WatchSettings

TRICKLE_UL = 10_000
TRICKLE_UL_S = 5_000
"""Nobody fills a cup with less than a centilitre, nor at 0.3 l a minute: such a flow is a drip."""

GRACE_MS = 30_000
"""So long after a pour what drips is the hose's, not the valve's."""

PARTS = 6
"""A slow leak shows itself in so many parts in a row of `slow_leak_after_s`."""

LONG_OVER_MS = 60_000
"""A long leak is over after so long without a count: the pause that ends a pour is too short for that."""

VALVE_COUNTS = 5
CLOSING_MS = 2_000
"""A closing valve lets its last drops through for so long."""

LONG, SLOW, VALVE = "long", "slow", "valve"


class LeakWatch:
    """Watches one meter for leaks, one at a time: a long one displaces a slow one."""

    def __init__(self, scale: Scale, settings: WatchSettings) -> None:
        self._scale, self._settings = scale, settings
        self._part_ms = max(1, settings.slow_leak_after_ms // PARTS)
        self._fine = scale.ul_num <= TRICKLE_UL * scale.den
        self.pattern: str | None = None
        """long, slow or valve while a leak is declared."""
        self.booked = False
        """Whether the counts of the next reading are the leak's."""
        self._last: Sight | None = None
        self._moved_ms = self._poured_ms = 0
        self._closed_ms: int | None = None
        self._closed_counts = 0
        self._segment_counts = 0
        self._part_counts = self._idle_ms = 0
        self._dripping_parts = self._dripped = 0

    def look(self, sight: Sight) -> Alarm | None:
        """The alarm that begins with this reading, if one does."""
        last, self._last = self._last, sight
        if last is None:
            self._moved_ms = self._poured_ms = sight.mono_ms
            self._closed_ms = sight.mono_ms if sight.valve_open is False else None
            return None
        counts, step_ms = sight.position - last.position, sight.mono_ms - last.mono_ms
        if counts:
            self._moved_ms = sight.mono_ms
        pouring = _is_pour(sight)
        if pouring:
            self._poured_ms, self._segment_counts = sight.mono_ms, 0
        empty_part = (
            self._idle(sight, step_ms, counts) if step_ms <= self._settings.unseen_ms and not pouring else False
        )
        self._finish(sight, empty_part=empty_part)
        alarm = self._valve(sight, counts) or self._long(sight) or self._slow(sight)
        self.booked = self.pattern is not None and not (self.pattern == SLOW and pouring)
        return alarm

    def forget(self) -> None:
        """What position follows is not comparable with the last one; a declared leak goes on until it pauses."""
        self._last = None
        self._closed_counts = self._segment_counts = 0

    def _declare(self, pattern: str, figures: dict[str, Any]) -> Alarm:
        self.pattern = pattern
        return Alarm(LEAK, {"pattern": pattern, **figures})

    def _valve(self, sight: Sight, counts: int) -> Alarm | None:
        if sight.valve_open is not False:
            self._closed_ms, self._closed_counts = None, 0
            return None
        if self._closed_ms is None:
            self._closed_ms = sight.mono_ms
        if sight.mono_ms - self._closed_ms > CLOSING_MS:
            self._closed_counts += counts
        if self.pattern in (VALVE, LONG) or self._closed_counts < VALVE_COUNTS:
            return None
        from_counts = sight.position - self._closed_counts
        return self._declare(VALVE, self._amount(from_counts, sight, sight.mono_ms - self._closed_ms))

    def _long(self, sight: Sight) -> Alarm | None:
        since_ms = sight.pour_since_ms
        if self.pattern in (LONG, VALVE) or since_ms is None:
            return None
        lasted_ms = sight.mono_ms - since_ms
        if lasted_ms < self._settings.leak_after_ms:
            return None
        volume_ul = sight.pour_ul
        figures = {"lasted_ms": lasted_ms, "volume_ul": volume_ul, "flow_ul_s": volume_ul * 1000 // lasted_ms}
        return self._declare(LONG, figures | {"counts": sight.position})

    def _idle(self, sight: Sight, step_ms: int, counts: int) -> bool:
        """Add a reading in which nobody pours; True where it ends a part in which not a count was seen."""
        if sight.mono_ms - self._poured_ms < GRACE_MS:
            self._segment_counts = 0
            return False
        self._segment_counts += counts
        if sight.pour_since_ms is None:
            # Only now is it certain that these counts did not grow into a pour.
            self._part_counts, self._segment_counts = self._part_counts + self._segment_counts, 0
        self._idle_ms += step_ms
        if self._idle_ms < self._part_ms:
            return False
        part_counts, self._part_counts, self._idle_ms = self._part_counts, 0, 0
        if part_counts == 0 and self._segment_counts == 0:
            self._dripping_parts = self._dripped = 0
            return True
        self._dripping_parts += 1
        self._dripped += part_counts
        return False

    def _slow(self, sight: Sight) -> Alarm | None:
        if self.pattern is not None or not self._fine or self._dripping_parts < PARTS:
            return None
        from_counts = sight.position - self._dripped - self._segment_counts
        return self._declare(SLOW, self._amount(from_counts, sight, self._dripping_parts * self._part_ms))

    def _amount(self, from_counts: int, sight: Sight, over_ms: int) -> dict[str, Any]:
        """How much leaked over how long until now: counted apart from pours, hence a volume and no interval."""
        volume_ul = self._scale.volume_ul(max(0, from_counts), sight.position)
        flow_ul_s = volume_ul * 1000 // max(1, over_ms)
        return {"lasted_ms": over_ms, "volume_ul": volume_ul, "flow_ul_s": flow_ul_s, "counts": sight.position}

    def _finish(self, sight: Sight, *, empty_part: bool) -> None:
        still = sight.mono_ms - self._moved_ms >= LONG_OVER_MS
        over = {LONG: still, VALVE: still or bool(sight.valve_open), SLOW: empty_part}
        if self.pattern is not None and over[self.pattern]:
            self.pattern = None
            self._dripping_parts = self._dripped = self._closed_counts = 0


def _is_pour(sight: Sight) -> bool:
    """Whether the flow under way is more than a drip."""
    if sight.pour_since_ms is None or sight.pour_ul <= TRICKLE_UL:
        return False
    return sight.pour_ul * 1000 > TRICKLE_UL_S * (sight.mono_ms - sight.pour_since_ms)
