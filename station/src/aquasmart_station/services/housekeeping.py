"""Keeping within bounds while the reader counts: memory, disk, write-ahead log; and saying so when it gets tight.

Called from the reader's loop between commits, one small piece of work at a time. Decisions are the core's
(`retention`, `merging`, `degraded`); what is done to the log is the keeper's; nothing here may stop the counting.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ..adapters.log_keeper import LogKeeper
from ..adapters.reserve import Reserve
from ..core.degraded import (
    DISK_FULL,
    DISK_SLOW,
    HURRY,
    LOG_OVER_BUDGET,
    RING_NEAR_CAPACITY,
    WAL_LARGE,
    Reasons,
)
from ..core.errors import LogError, LogFull
from ..core.merging import STEPS_MS
from ..core.ports import Clock
from ..core.retention import (
    DiskUse,
    commit_stretch,
    cutoff_ms,
    over_budget,
    short_of_room,
    urgent_rows_wait,
    wants_spare,
)
from ..core.ring import Ring

S_NS = 1_000_000_000
LOOK_EVERY_NS = 5 * S_NS
PRUNE_EVERY_NS = 600 * S_NS
"""How often acknowledged events are looked through for old ones."""
SLOW_NS = S_NS
"""A commit that takes longer is slow."""
SLOW_FOR_NS = 60 * S_NS
"""How long a slow commit is spoken of."""
AGAIN_NS = 60 * S_NS
"""After a pass at the coarsest resolution that did not help."""
PIECES_WHEN_PRESSED = 4
"""Transactions of one turn while space is short: tens of milliseconds, so that commits stay on time."""


class Housekeeping:
    """The bounds of one reader. Used by its thread only."""

    def __init__(
        self,
        *,
        keeper: LogKeeper,
        reserve: Reserve,
        reasons: Reasons,
        ring: Ring,
        clock: Clock,
    ) -> None:
        self._keeper, self._reserve, self._reasons, self._ring = keeper, reserve, reasons, ring
        self._clock = clock
        self._use: DiskUse | None = None
        self._looked_ns = self._pruned_ns = self._slow_until_ns = self._rest_until_ns = 0
        self._over = self._short = self._full = False
        self._stretch, self._urgent_wait = 1, False
        self._pruning = False
        """Whether a pass of pruning is under way."""
        self._exhausted = False
        """While space is short: everything acknowledged has gone."""
        self._step = 0
        self._resolution_ms = 0
        """The coarsest resolution that events in the log had to be merged to since space was last plentiful."""

    @property
    def stretch(self) -> int:
        """What to multiply the commit interval with."""
        return self._stretch

    @property
    def urgent_wait(self) -> bool:
        """Whether urgent rows wait for the commit interval as it is configured."""
        return self._urgent_wait

    def before_open(self) -> None:
        """A full disk refuses even to open a log that was closed cleanly: the reserve makes room first."""
        if self._reserve.short:
            self._reserve.release()
            self._reasons.set(DISK_FULL)

    def committed(self, took_ns: int) -> None:
        self._ring.committed()
        self._full = False
        self._slow(took_ns)

    def failed(self, fault: LogError, took_ns: int) -> None:
        """A commit has failed; its drafts are in the ring again."""
        self._slow(took_ns)
        if isinstance(fault, LogFull):
            self._full = True
            self._reserve.release()
            self._reasons.set(DISK_FULL)
            self._looked_ns = 0

    def turn(self) -> None:
        """One look, and one small piece of work where there is any. Faults are shown by their reasons, not raised."""
        now_ns = self._clock.mono_ns()
        self._reasons.put(RING_NEAR_CAPACITY, on=self._ring.near)
        self._reasons.put(DISK_SLOW, on=now_ns < self._slow_until_ns)
        try:
            self._look(now_ns)
            if self._short or self._full:
                self._make_room(now_ns)
            elif DISK_FULL in self._reasons.active:
                self._free_pages()
            elif WAL_LARGE in self._reasons.active:
                pass  # every change makes it longer, and nothing is short yet
            elif self._over:
                self._make_room(now_ns)
            else:
                self._prune_old(now_ns)
        except LogFull:
            self._reserve.release()
            self._reasons.set(DISK_FULL)
        except LogError:
            # Busy, or unreadable: the reader's own commit names what is wrong with the log. Later again.
            self._looked_ns = now_ns

    def figures(self) -> dict[str, Any]:
        """What live.db shows."""
        use = self._use
        return {
            "degraded": sorted(self._reasons.active),
            "hurry": bool(self._reasons.active & HURRY),
            "ring_resolution_ms": self._ring.step_ms,
            "resolution_ms": self._resolution_ms,
            "log_used_bytes": use.used_bytes if use else None,
            "wal_bytes": use.wal_bytes if use else None,
            "reserve_held": self._reserve.held,
        }

    def close(self) -> None:
        self._keeper.close()

    @property
    def _pressed(self) -> bool:
        return self._over or self._short or self._full

    def _slow(self, took_ns: int) -> None:
        if took_ns > SLOW_NS:
            self._slow_until_ns = self._clock.mono_ns() + SLOW_FOR_NS

    def _look(self, now_ns: int) -> None:
        if now_ns - self._looked_ns < LOOK_EVERY_NS and not self._pressed:
            return
        self._looked_ns = now_ns
        limits, use = self._keeper.limits, self._keeper.measure()
        self._use = use
        self._over = over_budget(use, limits, already=self._over)
        self._short = short_of_room(use, limits, already=self._short)
        if self._short and self._reserve.release():
            self._short = short_of_room(self._keeper.measure(), limits, already=False)
            self._reasons.set(DISK_FULL)
        elif not self._short and not self._full and self._reserve.hold():
            self._reasons.clear(DISK_FULL)
        else:
            self._reasons.set(DISK_FULL)
        self._reasons.put(LOG_OVER_BUDGET, on=self._over)
        self._stretch, self._urgent_wait = commit_stretch(use, limits), urgent_rows_wait(use, limits)
        self._reasons.put(WAL_LARGE, on=self._stretch > 1)
        if not self._pressed:
            # A pass that helped goes on where it stopped when space is short again.
            self._exhausted = False
            if use.page_bytes * 2 < limits.budget_bytes and DISK_FULL not in self._reasons.active:
                self._step = self._resolution_ms = 0

    def _free_pages(self) -> None:
        """The partition is full, the reserve has been given back: before somebody takes that, too, what the cloud has
        goes, so that the log can live on within its own file."""
        for _ in range(PIECES_WHEN_PRESSED):
            if self._use is not None and wants_spare(self._use) and not self._exhausted:
                self._exhausted = not self._keeper.prune(cutoff_ms=None, pressed=True)
                self._use = self._keeper.measure()

    def _make_room(self, now_ns: int) -> None:
        """The order of rescue, the reserve having been released: checkpoint, prune, merge, checkpoint."""
        if now_ns < self._rest_until_ns:
            return
        self._checkpoint()
        for _ in range(PIECES_WHEN_PRESSED):
            if not self._exhausted:
                self._exhausted = not self._keeper.prune(cutoff_ms=None, pressed=True)
            elif not self._thin():
                self._coarser(now_ns)
                break
        self._checkpoint()

    def _checkpoint(self) -> None:
        # It may have to lengthen the file, which a full disk refuses; pages freed in the WAL may do all the same.
        with contextlib.suppress(LogFull):
            self._keeper.checkpoint()

    def _thin(self) -> bool:
        """One piece of a pass at the present resolution; False where the pass has reached the end."""
        merged_before = self._keeper.rows_merged
        more = self._keeper.thin(STEPS_MS[self._step])
        if self._keeper.rows_merged > merged_before:
            self._resolution_ms = STEPS_MS[self._step]
        return more

    def _coarser(self, now_ns: int) -> None:
        """A whole pass was not enough: the next is coarser, and first what the cloud has taken meanwhile goes."""
        self._exhausted = False
        if self._step + 1 < len(STEPS_MS):
            self._step += 1
        else:
            self._rest_until_ns = now_ns + AGAIN_NS

    def _prune_old(self, now_ns: int) -> None:
        if not self._pruning and now_ns - self._pruned_ns < PRUNE_EVERY_NS:
            return
        self._pruned_ns = now_ns
        now_ms = self._clock.wall_ns() // 1_000_000
        cutoff = cutoff_ms(now_ms, self._keeper.limits.retention_ms, self._clock.quality())
        self._pruning = self._keeper.prune(cutoff_ms=cutoff, pressed=False)
