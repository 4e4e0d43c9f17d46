"""What is wrong with a meter or its tap: a stuck sensor, a leak, no flow where some is expected.

Pure, in whole counts, µl and ms: what each reading shows in, alarms out; one alarm per episode. Nothing is booked
here and nothing withheld: stuck is an alarm and books nothing, a leak's counts stay in the total and only their kind
changes (meters' page). How leaks are told from pours is in `leaks`.

Found, at 10 Hz with the default settings (tests/unit/station/test_watching.py, test_thirty_days.py):
| fault | found after |
|---|---|
| stuck: the flow figure shows flow, the count stands | `stuck_after_s` of flow in one or more pours: 101 readings |
| no flow with the valve open, where a driver knows the valve | the same |
| no count at all from a meter that answers | `no_flow_after_s`: three days |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .model import MeterTraits
from .phrases import Phrase, joined

STUCK_COUNTS = 3
"""The flow figure must have promised so many counts before their absence means anything."""

SHOWN_PART = 100
"""Flow below this part of qmax is an ultrasonic meter's noise around zero, not flow that must be counted."""

UNSEEN_MS = 10_000
"""A longer gap between readings was not watched: its time counts for nothing."""

STUCK, LEAK, NO_FLOW = "stuck", "leak", "no-flow"

_WORDS = {
    STUCK: Phrase("the meter shows flow but its count stands still: check the sensor and its cable"),
    LEAK: Phrase("water runs that is nobody's pour, booked as leak: look at the valve and the hose"),
    NO_FLOW: Phrase("not a count for so long that something may be wrong: is the tap open, is there water?"),
}


def words_for(conditions: frozenset[str]) -> str:
    """What is so at present, in words that say what to do; empty where nothing is."""
    return joined("; ", (text for name, text in _WORDS.items() if name in conditions))


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """When to speak, in ms. `no_flow_after_ms` 0: never."""

    leak_after_ms: int = 1_800_000
    slow_leak_after_ms: int = 1_800_000
    stuck_after_ms: int = 10_000
    no_flow_after_ms: int = 259_200_000
    unseen_ms: int = UNSEEN_MS


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reading shows: the position, the meter's own figures, and the flow segment under way, if one is."""

    mono_ms: int
    position: int
    flow_ul_s: int | None = None
    valve_open: bool | None = None
    sensor_fault: bool = False
    """The meter itself says that its sensor is at fault."""
    pour_since_ms: int | None = None
    pour_ul: int = 0


@dataclass(frozen=True, slots=True)
class Alarm:
    """The beginning of an episode: its name, and the figures of its row."""

    name: str
    figures: dict[str, Any]

    def row_data(self) -> dict[str, Any]:
        return {"metric": self.name, **self.figures}


class MeterWatch:
    """Watches one meter's count against what else it shows. The first sight only says where it stands."""

    def __init__(self, traits: MeterTraits, settings: WatchSettings) -> None:
        self._settings = settings
        self._scale = traits.scale
        self._least_flow_ul_s = max(1, traits.qmax_ul_s // SHOWN_PART)
        self._last: Sight | None = None
        self._moved_ms = 0
        self._shown_ms = self._shown_ul_ms = self._valve_ms = 0
        self.stuck = self.no_flow = False

    def look(self, sight: Sight) -> Alarm | None:
        """The alarm that begins with this reading, if one does."""
        last, self._last = self._last, sight
        if last is None or sight.position != last.position:
            self._moved_ms = sight.mono_ms
            self._shown_ms = self._shown_ul_ms = self._valve_ms = 0
            if last is not None:
                self.no_flow, self.stuck = False, self.stuck and sight.sensor_fault
        elif sight.mono_ms - last.mono_ms <= self._settings.unseen_ms:
            self._add(sight, sight.mono_ms - last.mono_ms)
        return self._stuck(sight) or self._no_flow(sight)

    def forget(self) -> None:
        """What position follows is not comparable with the last one. Episodes go on until counts end them."""
        self._last = None

    def _add(self, sight: Sight, step_ms: int) -> None:
        if sight.flow_ul_s is not None and sight.flow_ul_s >= self._least_flow_ul_s:
            self._shown_ms += step_ms
            self._shown_ul_ms += sight.flow_ul_s * step_ms
        self._valve_ms = self._valve_ms + step_ms if sight.valve_open else 0

    def _stuck(self, sight: Sight) -> Alarm | None:
        """Over with the next count, not with the flow: a shut tap only hides the fault."""
        promised = self._shown_ul_ms * self._scale.den >= STUCK_COUNTS * 1000 * self._scale.ul_num
        shown = promised and self._shown_ms >= self._settings.stuck_after_ms
        if self.stuck or not (shown or sight.sensor_fault):
            return None
        self.stuck = True
        return Alarm(
            STUCK,
            {
                "counts": sight.position,
                "unchanged_ms": sight.mono_ms - self._moved_ms,
                "flow_ul_s": sight.flow_ul_s,
                "expected_ul": self._shown_ul_ms // 1000,
                "said_by_meter": sight.sensor_fault,
            },
        )

    def _no_flow(self, sight: Sight) -> Alarm | None:
        still_ms, limit_ms = sight.mono_ms - self._moved_ms, self._settings.no_flow_after_ms
        valve = self._valve_ms >= self._settings.stuck_after_ms
        if self.no_flow or not (valve or (limit_ms and still_ms >= limit_ms)):
            return None
        self.no_flow = True
        return Alarm(NO_FLOW, {"counts": sight.position, "unchanged_ms": still_ms, "valve_open": sight.valve_open})
