"""One thread per meter: poll on time, decode, account, hand over. Never waits for disk, network or another meter.

Owns its meter's line, driver and account. What it books goes into the shared ring; what it knows is read by the reader
for display. Opening and reopening with backoff happen here; everything that can be decided without I/O is in the core.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.backoff import Backoff
from ..core.degraded import Reasons
from ..core.errors import BadFrame, NoAnswer, StationError
from ..core.model import Draft, Flag, Kind, Reading, Scale
from ..core.observing import MeterObserver
from ..core.ports import Clock, MeterLine
from ..core.ring import Ring

REOPEN = Backoff(base_s=0.25, cap_s=5.0)
SILENT_AFTER_POLLS = 10
"""So many polls without a good answer make a meter `silent` rather than a line noisy."""


class Shelf:
    """The ring between the polling threads and the one writer, with its lock; and why the station is degraded."""

    def __init__(self, capacity: int) -> None:
        self.ring = Ring(capacity)
        self.wake = threading.Condition()
        self.reasons = Reasons()


@dataclass(slots=True)
class PollFigures:
    """What a poller has seen. Written by its thread only; a torn read is a display a moment old."""

    good: int = 0
    bad: int = 0
    unbooked: int = 0
    reopened: int = 0
    bad_in_a_row: int = 0
    anomalies: int = 0
    anomaly: str = ""
    """What the latest one was about."""
    anomaly_at_ms: int = 0
    fault: str = ""
    link_up: bool = False
    reading: Reading | None = None


class MeterPoller:
    """Polls one meter until told to stop."""

    def __init__(
        self,
        *,
        meter_id: str,
        line: MeterLine,
        observer: MeterObserver,
        shelf: Shelf,
        clock: Clock,
        period_s: float,
        idle_heartbeat_s: float,
        draw: Callable[[], float],
    ) -> None:
        self.meter_id = meter_id
        self.figures = PollFigures()
        self.observer, self.account = observer, observer.account
        self.lateness_ms: deque[float] = deque(maxlen=600)
        self._line, self._shelf, self._clock, self._draw = line, shelf, clock, draw
        self._period_ns = int(period_s * 1e9)
        self._idle_ns = int(idle_heartbeat_s * 1e9)
        self._stop = threading.Event()
        self._booked_mono_ns = clock.mono_ns()
        self._thread = threading.Thread(target=self._run, name=f"meter-{meter_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def adopt(self, *, period_s: float, idle_heartbeat_s: float) -> None:
        """Other times between polls and between idle rows, from the next one on."""
        self._period_ns, self._idle_ns = int(period_s * 1e9), int(idle_heartbeat_s * 1e9)

    def rescale(self, scale: Scale, opening_token: str | None, standing_token: str | None) -> list[Draft]:
        """Another price per count, under the shelf's lock: the rows that end what stands at the present one."""
        self._line.rescale(scale)
        return self.observer.reprice(scale, opening_token, standing_token)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def state(self) -> str:
        """link-down, silent, or what the account says: waiting, ok, suspect, frozen."""
        if not self.figures.link_up:
            return "link-down"
        if self.figures.bad_in_a_row >= SILENT_AFTER_POLLS:
            return "silent"
        return self.account.view.state

    def acknowledge_swap(self, *, change_token: str | None = None) -> None:
        """A technician says that this meter was replaced. Safe in any thread."""
        with self._shelf.wake:
            self.account.acknowledge_swap(change_token=change_token)

    def _run(self) -> None:
        tick_ns = self._clock.mono_ns()
        while not self._stop.is_set():
            if not self.figures.link_up and not self._reopen():
                tick_ns = self._clock.mono_ns()
                self._book_silence()
                continue
            self.lateness_ms.append(max(0, self._clock.mono_ns() - tick_ns) / 1e6)
            self._poll()
            self._heartbeat()
            # Ticks that passed while an answer was awaited are skipped, not made up for: the totaliser remembers.
            now_ns = self._clock.mono_ns()
            tick_ns += self._period_ns * max(1, -(-(now_ns - tick_ns) // self._period_ns))
            self._stop.wait((tick_ns - now_ns) / 1e9)
        with self._shelf.wake:
            # Also into a full ring: these few rows end what the ring already holds, and nothing follows them.
            self._hand_over(self.observer.close())
        self._line.close()

    def _reopen(self) -> bool:
        figures = self.figures
        try:
            self._line.open()
        except StationError as fault:
            figures.fault = fault.message
            figures.reopened += 1
            self._stop.wait(REOPEN.delay_s(min(figures.reopened, 10), self._draw()))
            return False
        figures.link_up, figures.fault, figures.reopened = True, "", 0
        return True

    def _poll(self) -> None:
        figures = self.figures
        try:
            reading = self._line.poll()
        except StationError as fault:
            figures.bad += 1
            figures.bad_in_a_row += 1
            figures.fault = fault.message
            # A frame that is wrong, late or missing is one lost poll; anything else means that the line is gone.
            if not isinstance(fault, BadFrame | NoAnswer):
                self._line.close()
                figures.link_up = False
            self._book_silence()
            return
        figures.good += 1
        figures.bad_in_a_row = 0
        figures.fault = ""
        self._book(reading)

    def _book(self, reading: Reading) -> None:
        with self._shelf.wake:
            if not self._shelf.ring.room:
                # Not booked is not lost: the account stays where it is, the next reading carries these counts too.
                self.figures.unbooked += 1
                return
            drafts = self.observer.take(reading)
            self.figures.reading = reading
            self._hand_over(drafts)

    def _book_silence(self) -> None:
        with self._shelf.wake:
            if self._shelf.ring.room:
                self._hand_over(self.observer.idle(self._clock.mono_ns() // 1_000_000))

    def _heartbeat(self) -> None:
        now_ns = self._clock.mono_ns()
        if now_ns - self._booked_mono_ns < self._idle_ns:
            return
        with self._shelf.wake:
            draft = self.account.heartbeat(now_ns // 1_000_000)
            if draft is not None and self._shelf.ring.room:
                self._hand_over([draft])
        self._booked_mono_ns = now_ns

    def _hand_over(self, drafts: list[Draft]) -> None:
        if drafts:
            self._booked_mono_ns = self._clock.mono_ns()
            self._see_anomalies(drafts)
            if self._shelf.reasons.active:
                drafts = [replace(draft, flags=draft.flags | Flag.DEGRADED) for draft in drafts]
            self._shelf.ring.put(drafts)
            self._shelf.wake.notify()

    def _see_anomalies(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            if draft.kind is Kind.ANOMALY:
                self.figures.anomalies += 1
                self.figures.anomaly = str((draft.data or {}).get("metric", ""))
                self.figures.anomaly_at_ms = draft.at_ms
