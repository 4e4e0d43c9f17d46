"""The sync service: take the log to the cloud, exactly once, over whatever network there is.

One loop over lanes, each with a courier of its own. The telemetry lane delivers the log; side lanes (the heartbeat,
operations, configuration) say the rest. No lane's wait, hold or fault delays another: the loop pauses only in
telemetry's step, for a quarter of a second at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..adapters.log_outbox import Outbox
from ..core.errors import Fenced, LogDamaged, LogError
from ..core.link import Links, came_up
from ..core.phrases import Phrase
from ..core.ports import Clock, LinkWatch, LiveDisplay, SideLane, Watchdog
from ..core.power import slowness
from .sync_display import Figures, SyncDisplay
from .telemetry import TelemetryLane

LOOK_EVERY_S = 0.25
ASK_READER_EVERY_S = 5.0
STOP_S = 2.0
"""How long last words may take."""
NEARLY_HERE_S = 1.0
"""How long an answer under way is waited for when stopping."""


class Sync:
    """`run` until stopped. Constructed by wiring with everything it needs."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        telemetry: TelemetryLane,
        lanes: Sequence[SideLane],
        figures: Figures,
        linger_s: float,
        clock: Clock,
        live: LiveDisplay,
        watchdog: Watchdog,
        links: LinkWatch,
        reader_gave_up: Callable[[], bool] = lambda: False,
        conditions: Callable[[], Iterable[str]] = tuple,
        link: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._outbox, self._telemetry, self._lanes, self._figures = outbox, telemetry, lanes, figures
        self._pause_s = max(0.01, min(LOOK_EVERY_S, linger_s or LOOK_EVERY_S))
        self._conditions = conditions
        self._clock, self._watchdog = clock, watchdog
        self._display = SyncDisplay(live, watchdog, clock, link)
        self._link_watch = links
        self._links: Links | None = None
        self._looked_s = 0.0
        self._reader_gave_up, self._asked_reader_s = reader_gave_up, clock.mono_ns() / 1e9
        self._stop = threading.Event()

    def adopt(self, linger_s: float) -> None:
        """Another linger, from the next pause on."""
        self._pause_s = max(0.01, min(LOOK_EVERY_S, linger_s or LOOK_EVERY_S))

    def stop(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Until stopped. Raises Fenced where another process has taken over, LogDamaged where the check must run."""
        self._watchdog.ready()
        while not self._stop.is_set():
            try:
                self.cycle()
            except (Fenced, LogDamaged):
                raise
            except LogError as fault:
                # A mark that could not be recorded stays where it was: the batch goes out again, the cloud drops it.
                self._telemetry.fail(fault.message, state="log-fault")
                self._show(force=True)
                self._stop.wait(1.0)
            self._watchdog.pet()
        self._finish()

    def cycle(self) -> None:
        """One step of every lane, or a short wait."""
        self._see_the_reader()
        self._see_the_links()
        self._telemetry.look()
        for lane in self._lanes:
            lane.step()
        if not self._telemetry.step(LOOK_EVERY_S):
            self._stop.wait(self._pause_s)
        self._show()

    def _see_the_reader(self) -> None:
        if self._mono_s() - self._asked_reader_s < ASK_READER_EVERY_S:
            return
        self._asked_reader_s = self._mono_s()
        self._telemetry.take_time(slowness(self._conditions()))
        if self._reader_gave_up():
            raise LogDamaged(
                Phrase("the reader found the log damaged"), hint=Phrase("Stop the services and run `aquasmart check`.")
            )

    def _see_the_links(self) -> None:
        """When a link comes up, waits of our own making are over: the first request follows within seconds."""
        now_s = self._mono_s()
        if self._links is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return
        before, self._looked_s = self._links, now_s
        self._links = self._link_watch.look()
        if before is not None and came_up(before, self._links):
            self._telemetry.link_came_up()
            for lane in self._lanes:
                lane.next_due_s = min(lane.next_due_s, max(now_s, self._telemetry.pace.not_before_s))

    def _finish(self) -> None:
        """Leave within seconds: an answer that is nearly here is taken, and if online last words are said."""
        self._watchdog.stopping()
        online = self._figures.state == "online"
        self._telemetry.finish(NEARLY_HERE_S if online else 0.0)
        self._figures.state = "stopped"
        for lane in self._lanes:
            lane.finish(STOP_S if online else 0.0)
        self._show(force=True)
        self._outbox.close()

    def _show(self, *, force: bool = False) -> None:
        self._display.show(self._figures, self._mono_s(), self._telemetry.next_due_s, force=force)

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9


def take_over(outbox: Outbox, now_ms: int) -> int:
    """Become the one sync process: the caller holds sync.lock. Raises LogError."""
    number = outbox.take_over(now_ms)
    try:
        outbox.look()
    except LogError:
        outbox.close()
        raise
    return number
