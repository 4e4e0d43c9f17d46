"""The reader service: poll the meters, keep the log. One writer, one group commit for all meters of the station.

A cycle waits for drafts, commits them, shows what happened and pets the watchdog: after a committed cycle or a
recorded fault, never otherwise. The polling threads go on whatever happens here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn
from uuid import UUID

from ..core.degraded import DISK_FULL
from ..core.errors import LogDamaged, LogError, LogFull
from ..core.model import Board, Draft, Flag, Kind, Row, StreamHeader
from ..core.phrases import sentences
from ..core.ports import Clock, EventLog, LiveDisplay, Watchdog
from ..core.showing import LOG_DAMAGED, ServiceState
from .adopting import ReaderSettings
from .diagnosing import Diagnoser
from .housekeeping import Housekeeping
from .polling import MeterPoller, Shelf
from .reader_display import meter_state, status_text
from .swapping import MeterSwaps
from .timekeeping import Timekeeper

LOOK_EVERY_NS = 100_000_000
"""How long a cycle waits for a commit's time before it looks after everything else."""
WAKING_NS = 10_000_000
"""What waking up for a commit may take on a busy board."""
SHOW_EVERY_NS = 500_000_000
SAY_REASONS_EVERY_NS = 5_000_000_000
JOIN_S = 1.5
"""How long stopping waits for a poll under way: above every driver's answer deadline."""


class Reader:
    """`start`, then `cycle` until told to stop, then `finish`."""

    def __init__(
        self,
        *,
        log: EventLog,
        live: LiveDisplay,
        watchdog: Watchdog,
        clock: Clock,
        board: Board,
        shelf: Shelf,
        house: Housekeeping,
        make_pollers: Callable[[EventLog, Shelf], list[MeterPoller]],
        diagnoser: Diagnoser,
        timekeeper: Timekeeper,
        new_id: Callable[[], UUID],
        settings: ReaderSettings,
        swaps: MeterSwaps,
    ) -> None:
        self._log, self._live, self._watchdog, self._clock = log, live, watchdog, clock
        self._board, self._shelf, self._make_pollers, self._new_id = board, shelf, make_pollers, new_id
        self._diagnoser, self._timekeeper = diagnoser, timekeeper
        self.reasons, self._house = shelf.reasons, house
        self._settings, self._swaps = settings, swaps
        self._interval_ns = int(settings.commit_interval_s * 1e9)
        self._pollers: list[MeterPoller] = []
        self._run_stream: StreamHeader | None = None
        self._stop = threading.Event()
        self._fault = ""
        self._commits = self._rows = 0
        self._seen_ns: int | None = None
        """Since when something waits."""
        self._took_ns = 0
        """What a commit takes: the longest of late, forgotten by and by."""
        self._shown_ns = 0
        self._reasons_said_ns = 0
        self._committed_at_ms: int | None = None

    def stop(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Until stopped. Raises LogDamaged, so that the check runs before the next start; nothing else that a fault of
        the disk or the meters causes.
        """
        if not self._start():
            return
        self._watchdog.ready()
        while not self._stop.is_set():
            self.cycle()
        self._finish()

    def _start(self) -> bool:
        """Open the log and start polling; a log that cannot be opened is a recorded fault, tried again each second.
        False where we were told to stop before it was open. Told so later, what was polled is committed first.
        """
        while not self._stop.is_set():
            try:
                self._house.before_open()
                self._log.open()
                self._pollers = self._make_pollers(self._log, self._shelf)
                self._shelf.ring.put([self._own(Kind.BOOT, {"clock": self._clock.quality()})])
                self._adopt()
                break
            except LogDamaged as fault:
                self._give_up(fault)
            except LogError as fault:
                self._fault = sentences(fault.message, fault.hint)
                self.reasons.put(DISK_FULL, on=isinstance(fault, LogFull))
                # Up, with a fault that is shown: a start that the supervisor gave up would only begin again here.
                self._watchdog.ready()
                if self._show(force=True):
                    self._watchdog.pet()
                self._stop.wait(1.0)
        else:
            return False
        for poller in self._pollers:
            poller.start()
        return True

    def cycle(self) -> None:
        """Wait for the next commit's time, commit, show."""
        self._adopt()
        self._diagnose()
        with self._shelf.wake:
            drafts = self._shelf.ring.take() if self._await_due() else []
        committed = self._commit(drafts) if drafts else True
        self._see_the_clock()
        self._swaps.step(self._pollers)
        self._house.turn()
        self._say_reasons()
        shown = self._show()
        if committed or shown:
            self._watchdog.pet()
        if not committed:
            self._stop.wait(0.5)

    def _adopt(self) -> None:
        """Settings that have changed act from here on. With a full ring they wait: a change of price ends a stream."""
        with self._shelf.wake:
            if not self._shelf.ring.room:
                return
            drafts, applied = self._settings.step(self._pollers)
            if applied is not None:
                drafts.append(self._own(Kind.CONFIG_APPLIED, applied))
            self._shelf.ring.put(drafts)
        self._interval_ns = int(self._settings.commit_interval_s * 1e9)

    def _diagnose(self) -> None:
        # With a full ring it waits: what has changed by then is told then.
        blocks = self._diagnoser.step(self._pollers) if self._shelf.ring.room else []
        with self._shelf.wake:
            self._shelf.ring.put([self._own(block.kind, block.data) for block in blocks])

    def _see_the_clock(self) -> None:
        quality = self._timekeeper.step()
        if quality is not None:
            for poller in self._pollers:
                poller.account.tell_clock(quality)

    def _await_due(self) -> bool:
        """Whether a commit is due: now, or before it is time to look after everything else."""
        until_ns = self._clock.mono_ns() + LOOK_EVERY_NS
        while True:
            now_ns, due_ns = self._clock.mono_ns(), self._due_ns()
            if due_ns is not None and due_ns <= now_ns:
                return True
            if now_ns >= until_ns:
                return False
            self._shelf.wake.wait((min(until_ns, due_ns or until_ns) - now_ns) / 1e9)

    def _due_ns(self) -> int | None:
        """When the next commit begins, by the monotonic clock; None while nothing waits.

        The interval is a reading's age when it is safe, so a commit begins as much sooner as commits took of late.
        """
        ring = self._shelf.ring
        oldest_ms = ring.oldest_mono_ms
        if oldest_ms is None:
            self._seen_ns = None
            return None
        if self._seen_ns is None:
            self._seen_ns = self._clock.mono_ns()
        if self._stop.is_set() or ring.half or (ring.urgent and not self._house.urgent_wait):
            return 0
        interval_ns = self._interval_ns * (1 if ring.urgent else self._house.stretch)
        since_ns = min(self._seen_ns, oldest_ms * 1_000_000)
        return since_ns + interval_ns - min(self._took_ns + WAKING_NS, interval_ns // 4)

    def _commit(self, drafts: list[Draft]) -> bool:
        began_ns = self._clock.mono_ns()
        try:
            rows: Sequence[Row] = self._log.append(drafts)
        except LogDamaged as fault:
            self._give_up(fault)
        except LogError as fault:
            self._fault = fault.message
            self._take_back(drafts)
            self._house.failed(fault, self._clock.mono_ns() - began_ns)
            return False
        took_ns = self._clock.mono_ns() - began_ns
        with self._shelf.wake:
            self._house.committed(took_ns)
        self._took_ns = max(took_ns, self._took_ns * 7 // 8)
        self._fault, self._seen_ns = "", None
        self._commits += 1
        self._rows += len(rows)
        self._committed_at_ms = self._clock.wall_ns() // 1_000_000
        return True

    def _give_up(self, fault: LogDamaged) -> NoReturn:
        """What the ring holds stands in the totaliser too: the next run's first reading brings it back."""
        self._fault = sentences(fault.message, fault.hint)
        self._show(force=True, state=LOG_DAMAGED)
        raise fault

    def _take_back(self, drafts: list[Draft]) -> None:
        """Nothing is lost: what did not reach the log goes back in front. The ring stays bounded by merging, and at
        last by not booking; it may merge what is known not to be in the log."""
        landed, known = 0, True
        try:
            landed = self._log.settle()
        except LogError:
            known = False
        with self._shelf.wake:
            self._shelf.ring.give_back(drafts[landed:], as_they_are=not known)

    def _say_reasons(self) -> None:
        """A `degraded` row when the reasons have changed; not more often than people could read."""
        now_ns = self._clock.mono_ns()
        if not self.reasons.changed or now_ns - self._reasons_said_ns < SAY_REASONS_EVERY_NS:
            return
        self._reasons_said_ns = now_ns
        with self._shelf.wake:
            if self._shelf.ring.room:
                self._shelf.ring.put([self._own(Kind.DEGRADED, {"reasons": self.reasons.note()})])

    def _finish(self) -> None:
        """Commit the ring and a `shutdown` row. Polls that end after this are re-derived as catch_up."""
        self._watchdog.stopping()
        for poller in self._pollers:
            poller.stop()
        for poller in self._pollers:
            poller.join(JOIN_S)
        with self._shelf.wake:
            drafts = [*self._shelf.ring.take(), self._own(Kind.SHUTDOWN, None)]
        for _ in range(3):
            if self._commit(drafts):
                break
            with self._shelf.wake:
                drafts = self._shelf.ring.take()
        self._show(force=True, state="stopped")
        self._diagnoser.close()
        self._settings.close()
        self._house.close()
        self._log.close()

    def _own(self, kind: Kind, data: dict[str, Any] | None) -> Draft:
        """A row of the run's meterless stream."""
        now_ms, mono_ms = self._clock.wall_ns() // 1_000_000, self._clock.mono_ns() // 1_000_000
        if self._run_stream is None:
            board = self._board
            self._run_stream = StreamHeader(
                id=self._new_id(), meter_id=None, identity=None, identity_strong=False, epoch=None, epoch_from=0,
                modulus=None, opening_counts=0, scale=None, opened_at_ms=now_ms, boot_id=board.boot_id,
                meter_boot_id=None, hardware_id=board.hardware_id, software=board.software,
                clock=self._clock.quality(),
            )  # fmt: skip
        flags = Flag.DEGRADED if self.reasons.active else Flag.NONE
        return Draft(self._run_stream, kind, now_ms, mono_ms, 0, flags, data, urgent=True)

    def _show(self, *, force: bool = False, state: str = "") -> bool:
        now_ns = self._clock.mono_ns()
        if not force and now_ns - self._shown_ns < SHOW_EVERY_NS:
            return False
        self._shown_ns = now_ns
        now_ms = self._clock.wall_ns() // 1_000_000
        text = status_text(
            self._pollers,
            fault=self._fault,
            waiting_rows=len(self._shelf.ring),
            committed_at_ms=self._committed_at_ms,
            degraded=self.reasons.active,
            now_ms=now_ms,
        )
        figures = {
            "commits": self._commits,
            "rows": self._rows,
            "ring_rows": len(self._shelf.ring),
            "ring_capacity": self._shelf.ring.capacity,
            "committed_at_ms": self._committed_at_ms,
            "fault": self._fault,
            "conditions": sorted(self._diagnoser.conditions),
            **self._house.figures(),
        }
        state = state or ("log-fault" if self._fault else "running")
        self._watchdog.status(text)
        return self._live.show(
            "reader_state",
            ServiceState(state, text, figures, now_ns // 1_000_000, now_ms),
            [meter_state(poller) for poller in self._pollers],
        )
