"""When a lane may send next: backoff, waits that were asked for, holds, and what ends them. Pure.

Two kinds of wait are kept apart. One that the cloud asked for, signed (Retry-After, a hold), is kept to the end. One of
our own making (backoff, an unverified answer) ends as soon as there is reason to believe that the way is free again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .backoff import Backoff, retry_after_s
from .outcome import RECHECK_S, SIGNED_RETRY_AFTER_LIMIT_S, UNSIGNED_RETRY_AFTER_LIMIT_S

LINK_UP_S = 1.0
"""Within this the first request follows when the link comes up, where no fleet is known."""
STATION_S = 0.035
"""A fleet spreads by so much per station: 1,000 stations over 35 s."""
LONGEST_SPREAD_S = 300.0


@dataclass(slots=True)
class Pace:
    """The waits of one lane. Times are monotonic seconds; `draw` is uniform in [0, 1)."""

    backoff: Backoff = field(default_factory=Backoff)
    recheck_s: float = RECHECK_S
    attempt: int = 0
    """Failures in a row."""
    not_before_s: float = 0.0
    asked_for: bool = False
    """Whether the cloud itself asked for the present wait."""

    def succeeded(self) -> None:
        self.attempt, self.not_before_s, self.asked_for = 0, 0.0, False

    def failed(self, now_s: float, draw: float, *, after_s: float | None = None, verified: bool = False) -> float:
        """Wait after a transient failure; `after_s` where the other side said so. The wait in seconds."""
        self.attempt += 1
        if after_s is None:
            return self._wait(now_s, self.backoff.delay_s(self.attempt, draw))
        limit_s = SIGNED_RETRY_AFTER_LIMIT_S if verified else UNSIGNED_RETRY_AFTER_LIMIT_S
        return self._wait(now_s, retry_after_s(after_s, draw, limit_s=limit_s), asked_for=verified)

    def unverified(self, now_s: float, draw: float) -> float:
        """Wait after an unsigned refusal: a backoff that grows up to the slow re-check. The wait in seconds."""
        self.attempt += 1
        slow = Backoff(self.backoff.base_s, max(self.backoff.base_s, self.recheck_s))
        return self._wait(now_s, slow.delay_s(self.attempt, draw))

    def held(self, now_s: float, draw: float) -> float:
        """Wait for the slow re-check of a hold. The wait in seconds."""
        self.attempt += 1
        return self._wait(now_s, recheck_in_s(self.recheck_s, draw), asked_for=True)

    def way_is_free(self, now_s: float) -> None:
        """Another lane came through: a wait of our own making is over."""
        if not self.asked_for:
            self.not_before_s = min(self.not_before_s, now_s)

    def link_came_up(self, now_s: float, draw: float, fleet: int) -> None:
        """There is a link again, maybe another one: a wait of our own making is over, but for the fleet's spread."""
        if not self.asked_for:
            self.attempt = 0
            self.not_before_s = now_s + spread_s(fleet) * draw

    def _wait(self, now_s: float, wait_s: float, *, asked_for: bool = False) -> float:
        self.not_before_s, self.asked_for = now_s + wait_s, asked_for
        return wait_s


def recheck_in_s(recheck_s: float, draw: float) -> float:
    """Seconds to the next look at a hold: nine to ten tenths, so that a fleet that was held does not return at once."""
    return recheck_s * (0.9 + 0.1 * draw)


def spread_s(fleet: int) -> float:
    """Over how many seconds a fleet of this size spreads its first requests when a link comes up.

    A single station follows within a second, 1,000 take 35 s (docs/protocol.md §6).
    """
    return min(LONGEST_SPREAD_S, max(LINK_UP_S, fleet * STATION_S))


def worth_keeping(fleet: int, kept: int) -> bool:
    """Whether a fleet's size differs so much from the one that is on the card that a write is due: by a quarter of the
    spread. A size that grows by one a day is written some ten times on the way from 100 stations to 1,000.
    """
    return abs(spread_s(fleet) - spread_s(kept)) > spread_s(kept) / 4


def fleet_of(data: Mapping[str, Any], known: int) -> int:
    """The fleet's size by the data of a verified answer; `known` where it says none."""
    said = data.get("fleet")
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else known
