"""What the health LED says: which pattern for which state, and what each pattern looks like. Pure.

One card in docs/technician.md explains them to a person; the table here is what that card is checked against. Every
pattern changes at least every two seconds: an LED that stays as it is, dark or lit, is driven by nobody any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .phrases import Phrase


class Health(Enum):
    """What a glance must tell apart, the worst first: the word, and what to do."""

    DEAD = (Phrase("dead"), Phrase("the reader or sync does not run, or the log cannot be written: aquasmart doctor"))
    METER = (
        Phrase("meter fault"),
        Phrase("nothing can be counted from a meter: look at its cable and supply, aquasmart status"),
    )
    HOLD = (
        Phrase("hold"),
        Phrase("the cloud, or something before it, says no: aquasmart status says why and what to do"),
    )
    BACKLOG = (Phrase("backlog"), Phrase("counting; the cloud is out of reach, what is counted waits in the log"))
    HEALTHY = (Phrase("healthy"), Phrase("counting, and the cloud has everything"))

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def remedy(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Milliseconds lit, dark, lit, dark …, repeated."""

    steps_ms: tuple[int, ...]

    @property
    def period_ms(self) -> int:
        return sum(self.steps_ms)

    def lit_at(self, elapsed_ms: int) -> bool:
        """Whether it is lit so long after the pattern began."""
        return self._place(elapsed_ms)[0]

    def next_change_ms(self, elapsed_ms: int) -> int:
        """How long from `elapsed_ms` until it changes; above 0."""
        return self._place(elapsed_ms)[1]

    def _place(self, elapsed_ms: int) -> tuple[bool, int]:
        left = elapsed_ms % self.period_ms
        for index, step in enumerate(self.steps_ms):
            if left < step:
                return index % 2 == 0, step - left
            left -= step
        raise AssertionError("a period is the sum of its steps")


_FLASH, _PAUSE, _REST = 120, 240, 1_400


def _flashes(number: int) -> Pattern:
    return Pattern((_FLASH, _PAUSE) * (number - 1) + (_FLASH, _REST))


PATTERNS = {
    Health.HEALTHY: _flashes(1),
    Health.BACKLOG: _flashes(2),
    Health.HOLD: _flashes(3),
    Health.METER: Pattern((120, 120)),
    Health.DEAD: Pattern((1_500, 500)),
}

PATIENCE_S = 120
"""What waits for less is on its way, not a backlog: the default linger, a lost answer and a few retries fit in."""

_COUNTING = frozenset({"ok", "waiting", "suspect"})
_NO = frozenset({"hold", "unverified"})
_ABSENT = frozenset({"not-running", "stopped", "log-fault", "log-damaged"})


def health(reader: str, sync: str, meters: Iterable[str], oldest_pending_s: int) -> Health:
    """By the states that the services show of themselves (core/showing.py), the worst that is true."""
    if reader in _ABSENT or sync in _ABSENT:
        return Health.DEAD
    if any(state not in _COUNTING for state in meters):
        return Health.METER
    if sync in _NO:
        return Health.HOLD
    if sync != "online" or oldest_pending_s > PATIENCE_S:
        return Health.BACKLOG
    return Health.HEALTHY
