"""Water for the simulated meter: a seeded, plausible day of pours, or steady, idle, backward and scripted flow.

Pure: time is what `advance_ms` is told, chance is a seeded generator. Volumes are integers of a thousandth of a
microlitre (µl/s times ms), so that nothing is lost between steps however time is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, repeat

DAY_S = 86_400
FOREVER_MS = 1 << 62

POURS_ML = (300, 500, 500, 500, 750, 750, 1000, 1500, 5000)
"""What people fill: cups, bottles, now and then a canister."""

HUSTLE = (1, 1, 1, 1, 1, 2, 4, 6, 8, 7, 6, 6, 8, 8, 6, 6, 7, 8, 8, 6, 4, 3, 2, 1)
"""How busy each hour of the day is, 8 at most."""

START_DELAY_MS = 1_000
SHORTEST_PAUSE_MS = 2_000
LONGEST_PAUSE_MS = 8_000
QUIETEST = 4
"""At night a pause is this many times as long as at noon."""

PUSHED_BACK_UL = 6_667
"""What a closing valve pushes back through the meter: 3 counts at 450 pulses per litre."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Flow that stays alike for a while; negative: backwards."""

    duration_ms: int
    flow_ul_s: int


class Chance:
    """SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same day on every machine."""

    def __init__(self, seed: int) -> None:
        self._state = seed & 0xFFFF_FFFF_FFFF_FFFF

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` − 1."""
        self._state = (self._state + 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
        mixed = self._state
        mixed = ((mixed ^ mixed >> 30) * 0xBF58_476D_1CE4_E5B9) & 0xFFFF_FFFF_FFFF_FFFF
        mixed = ((mixed ^ mixed >> 27) * 0x94D0_49BB_1331_11EB) & 0xFFFF_FFFF_FFFF_FFFF
        return (mixed ^ mixed >> 31) % limit

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)


def steady(flow_ul_s: int) -> Iterator[Segment]:
    """The same flow for ever."""
    return repeat(Segment(FOREVER_MS, flow_ul_s))


def idle() -> Iterator[Segment]:
    """No flow, ever."""
    return steady(0)


def backflow(flow_ul_s: int) -> Iterator[Segment]:
    """Two seconds of flow, then the valve closes and the line pushes a little back; again and again."""
    push_ms = 100
    push = Segment(push_ms, -PUSHED_BACK_UL * 1000 // push_ms)
    return cycle((Segment(2_000, flow_ul_s), Segment(300, 0), push, Segment(1_500, 0)))


def pours(flow_ul_s: int, seed: int, second_of_day: int = 43_200) -> Iterator[Segment]:
    """Pours of common sizes around `flow_ul_s`, denser at busy hours; the first begins after a second."""
    chance = Chance(seed)
    clock_ms = second_of_day * 1000
    pause_ms = START_DELAY_MS
    while True:
        segments = [Segment(pause_ms, 0), *_pour(flow_ul_s * chance.between(85, 115) // 100, chance)]
        yield from segments
        clock_ms += sum(segment.duration_ms for segment in segments)
        busy = HUSTLE[clock_ms // 1000 % DAY_S // 3600]
        slowness = 1 + (QUIETEST - 1) * (8 - busy) // 7
        pause_ms = chance.between(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS) * slowness


def _pour(flow_ul_s: int, chance: Chance) -> list[Segment]:
    """A pour: the valve opens, the bottle fills, the hose dribbles."""
    volume_ul = POURS_ML[chance.below(len(POURS_ML))] * 1000
    opening = Segment(400, flow_ul_s // 2)
    dribble = Segment(600, flow_ul_s // 12)
    fill_ms = volume_ul * 1000 // max(flow_ul_s, 1)
    return [opening, Segment(fill_ms, flow_ul_s), dribble]


class Hydraulics:
    """Walks along segments of flow. After the last one nothing flows."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = iter(segments)
        self._left_ms = 0
        self.flow_ul_s = 0

    def advance_ms(self, duration_ms: int) -> int:
        """Volume of the next `duration_ms`, in thousandths of a microlitre."""
        volume = 0
        while duration_ms > 0:
            if self._left_ms == 0:
                segment = next(self._segments, Segment(FOREVER_MS, 0))
                self._left_ms, self.flow_ul_s = segment.duration_ms, segment.flow_ul_s
            step_ms = min(duration_ms, self._left_ms)
            volume += step_ms * self.flow_ul_s
            self._left_ms -= step_ms
            duration_ms -= step_ms
        return volume
