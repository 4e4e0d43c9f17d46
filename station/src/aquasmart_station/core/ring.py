"""The bounded buffer between polling and the log. Pure data: the service that owns it holds the lock.

Never unbounded, never a dropped count. Near its capacity neighbours are merged, in steps of resolution; when that does
not help either, the reader stops booking readings: the totaliser remembers, and the next reading that is booked
carries all counts since the last one, exactly.
"""

from __future__ import annotations

from .merging import STEPS_MS, merged_drafts
from .model import Draft

DEFAULT_CAPACITY = 6_000
"""Ten minutes at ten readings a second."""

_NEAR_PERCENT = 80
"""From here on neighbours are merged."""
_ENOUGH_PERCENT = 50
"""A resolution that leaves more than this is not coarse enough. Also: from here on a commit is due."""
_AGAIN_PERCENT = 5
"""Merging that gained nothing is not tried again before so many drafts more have come."""


class Ring:
    """Drafts waiting for the next group commit, oldest first."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.urgent = False
        self.step_ms = 0
        """The coarsest resolution that had to be used since the last commit; 0: nothing was merged."""
        self._drafts: list[Draft] = []
        self._held = 0
        self._merge_at = self._percent(_NEAR_PERCENT)

    def __len__(self) -> int:
        return len(self._drafts)

    @property
    def oldest_mono_ms(self) -> int | None:
        """When the first of what waits was made, by the monotonic clock; None: nothing waits."""
        return self._drafts[0].mono_ms if self._drafts else None

    @property
    def room(self) -> bool:
        """Whether a reading may be booked: one reading gives at most a few drafts."""
        return len(self._drafts) < self.capacity

    @property
    def half(self) -> bool:
        """Half full: a commit is due, whatever else would have it wait."""
        return len(self._drafts) >= self._percent(_ENOUGH_PERCENT)

    @property
    def near(self) -> bool:
        """Near capacity: it is, or has been since the last commit."""
        return self.step_ms > 0 or len(self._drafts) >= self._percent(_NEAR_PERCENT)

    def put(self, drafts: list[Draft]) -> None:
        self._drafts.extend(drafts)
        # With a long commit interval and many meters the ring would fill before its time: commit early, not merge.
        self.urgent = self.urgent or self.half or any(draft.urgent for draft in drafts)
        self._relieve()

    def take(self) -> list[Draft]:
        """Everything that waits. Given back with `give_back` if it could not be committed."""
        drafts, self._drafts = self._drafts, []
        self.urgent, self._held = False, 0
        return drafts

    def give_back(self, drafts: list[Draft], *, as_they_are: bool = False) -> None:
        """Put drafts that could not be committed in front again, in their order.

        `as_they_are`: it is not known whether they reached the log; until it is, they must come again unchanged.
        """
        self._drafts[:0] = drafts
        self._held = len(drafts) if as_they_are else 0
        self.urgent = True
        self._relieve()

    def committed(self) -> None:
        """What was taken is in the log: merging begins anew with the finest resolution."""
        self.step_ms, self._merge_at = 0, self._percent(_NEAR_PERCENT)

    def _relieve(self) -> None:
        """Merge neighbours once near capacity, at ever coarser resolutions until half of it is free."""
        if len(self._drafts) < self._merge_at:
            return
        for step_ms in STEPS_MS:
            if step_ms < self.step_ms:
                continue
            held, free = self._drafts[: self._held], self._drafts[self._held :]
            self._drafts = held + merged_drafts(free, step_ms)
            self.step_ms = step_ms
            if len(self._drafts) <= self._percent(_ENOUGH_PERCENT):
                break
        self._merge_at = max(self._percent(_NEAR_PERCENT), len(self._drafts) + self._percent(_AGAIN_PERCENT))

    def _percent(self, percent: int) -> int:
        return max(1, self.capacity * percent // 100)
