"""The reader's watch on the clocks: a boot's offset is stored once the time is known (docs/protocol.md §8)."""

from __future__ import annotations

from typing import Protocol

from ..core.boot_clock import BootClock, BootOffset
from ..core.errors import LogError
from ..core.ports import Clock

LOOK_EVERY_NS = 1_000_000_000
AGAIN_NS = 10_000_000_000
"""After the log could not take it: the reader's own commit names what is wrong."""


class TimeLog(Protocol):
    """Where a boot's offset is kept."""

    def boot_offset(self, boot_id: str) -> BootOffset | None: ...

    def note_boot_offset(self, boot_id: str, offset: BootOffset) -> None: ...


class Timekeeper:
    """Looks each second, from the reader's loop; writes a few times in a boot."""

    def __init__(self, log: TimeLog, clock: Clock, boot_id: str) -> None:
        self._log, self._clock, self._boot_id = log, clock, boot_id
        self._watch: BootClock | None = None
        self._next_ns = 0

    def step(self) -> str | None:
        """One look when it is due: the clock's quality then, else None.

        A fault of the log is not raised: what is known is kept and stored later. A crash before that loses nothing
        but time: the next run sees the same clocks.
        """
        now_ns = self._clock.mono_ns()
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + LOOK_EVERY_NS
        quality = self._clock.quality()
        try:
            if self._watch is None:
                self._watch = BootClock(self._log.boot_offset(self._boot_id))
            found = self._watch.observe(now_ns // 1_000_000, self._clock.wall_ns() // 1_000_000, quality)
            if found is not None:
                self._log.note_boot_offset(self._boot_id, found)
                self._watch.keep(found)
        except LogError:
            self._next_ns = now_ns + AGAIN_NS
        return quality
