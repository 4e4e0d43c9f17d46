"""The bounded buffer between polling and the log. Pure data: the service that owns it holds the lock.

Never unbounded, never a dropped count: when it is full, the reader stops booking readings. The totaliser remembers;
the next reading that is booked carries all counts since the last one, exactly.
"""

from __future__ import annotations

from collections import deque

from .model import Draft


class Ring:
    """Drafts waiting for the next group commit, oldest first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._drafts: deque[Draft] = deque()
        self.urgent = False

    def __len__(self) -> int:
        return len(self._drafts)

    @property
    def room(self) -> bool:
        """Whether a reading may be booked: one reading gives at most a few drafts."""
        return len(self._drafts) < self.capacity

    def put(self, drafts: list[Draft]) -> None:
        self._drafts.extend(drafts)
        self.urgent = self.urgent or any(draft.urgent for draft in drafts)

    def take(self) -> list[Draft]:
        """Everything that waits. Given back with `give_back` if it could not be committed."""
        drafts = list(self._drafts)
        self._drafts.clear()
        self.urgent = False
        return drafts

    def give_back(self, drafts: list[Draft]) -> None:
        """Put drafts that could not be committed in front again, in their order."""
        self._drafts.extendleft(reversed(drafts))
        self.urgent = True
