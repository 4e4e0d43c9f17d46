"""How far a boot's wall clock stands from its monotonic one, and from when on that is to be believed. Pure.

A board without a battery starts in 1970 or where it was switched off; the time arrives later, or jumps. Rows keep what
the clocks said (they are never rewritten); once the time is known, what was known too late is stored per boot, and sync
puts the right wall time into what it encodes (docs/protocol.md §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RANK = {"unset": 0, "restored": 1, "rtc": 2, "ntp": 3}
STEADY_MS = 10_000
"""A time is known when it has stood for so long: a glitch of a moment teaches nothing."""
SECOND_THOUGHT_MS = 600_000
"""A time of the same quality replaces one that was known when it has stood for so long."""
SAME_MS = 1_000
"""Offsets nearer than this are one: NTP slews, and times are told in milliseconds read one after the other."""


@dataclass(frozen=True, slots=True)
class BootOffset:
    """What is known of a boot: wall time = monotonic time + `offset_ms` for all that came before `at_mono_ms`."""

    offset_ms: int
    source: str
    """restored, rtc or ntp."""
    at_mono_ms: int

    def corrected(self, at_ms: Sequence[int], mono_ms: Sequence[int]) -> Sequence[int]:
        """The best wall times of rows in the order of their monotonic ones.

        Rows from `at_mono_ms` on have the time as it was known: theirs stays.
        """
        if mono_ms[0] >= self.at_mono_ms:
            return at_ms
        return [
            mono + self.offset_ms if mono < self.at_mono_ms else at for at, mono in zip(at_ms, mono_ms, strict=True)
        ]


class BootClock:
    """Watches the clocks of one boot and says when there is something to store."""

    def __init__(self, stored: BootOffset | None = None) -> None:
        self._stored = stored
        self._candidate: BootOffset | None = None

    def observe(self, mono_ms: int, wall_ms: int, quality: str) -> BootOffset | None:
        """One look at the clocks. What is to be stored, again at each look until `keep` says that it is."""
        offset_ms = wall_ms - mono_ms
        if not RANK.get(quality):
            self._candidate = None
            return None
        candidate = self._candidate
        if candidate is None or candidate.source != quality or abs(candidate.offset_ms - offset_ms) >= SAME_MS:
            self._candidate = candidate = BootOffset(offset_ms, quality, mono_ms)
        stood_ms = mono_ms - candidate.at_mono_ms
        needed_ms = self._needed_ms(candidate)
        return candidate if needed_ms is not None and stood_ms >= needed_ms else None

    def keep(self, stored: BootOffset) -> None:
        """It is on the disk."""
        self._stored = stored

    def _needed_ms(self, candidate: BootOffset) -> int | None:
        """How long a candidate must stand; None where it says nothing new."""
        stored = self._stored
        if stored is None or RANK[candidate.source] > RANK.get(stored.source, 0):
            return STEADY_MS
        if candidate.source != stored.source or abs(candidate.offset_ms - stored.offset_ms) < SAME_MS:
            return None
        return SECOND_THOUGHT_MS
