"""The sync service: take the log to the cloud, exactly once, over whatever network there is.

One loop, one request in flight. A cycle does one thing: start what is due, or take an answer and record it. Only this
loop moves marks; the courier's thread only carries bytes. A batch in flight when the process dies is sent again by the
next one and dropped by the cloud by its seqs: nothing is lost, nothing is counted twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..adapters.log_outbox import Outbox
from ..core.backoff import Backoff, retry_after_s
from ..core.batching import BatchSize
from ..core.conversation import CloudClock, Identity, SignedRequest, answered_at_ms, is_signed, signed_request
from ..core.errors import Fenced, LogDamaged, LogError
from ..core.outcome import (
    RECHECK_S,
    SIGNED_RETRY_AFTER_LIMIT_S,
    Answer,
    Delivered,
    HeaderWanted,
    Hold,
    NoAnswer,
    Outcome,
    PlainWanted,
    Retry,
    Rewind,
    Skewed,
    Unverified,
    outcome_of,
)
from ..core.ports import Clock, Courier, InFlight, LiveDisplay, Watchdog
from .delivery import settle_delivered, settle_rewind
from .heartbeat import HeartbeatLane
from .packing import Packed, Packer
from .sync_display import Figures, SyncDisplay

INGEST = "/v1/ingest"
LOOK_EVERY_S = 0.25
ASK_READER_EVERY_S = 5.0
STOP_S = 2.0
"""How long the final heartbeat may take."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    linger_s: float
    batch_rows_max: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch in flight."""

    packed: Packed
    request: SignedRequest
    answer: InFlight
    mono_s: float
    corrected: bool = False


class Sync:
    """`run` until stopped. Constructed by wiring with everything it needs."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        courier: Courier,
        heartbeat: HeartbeatLane,
        identity: Identity,
        settings: SyncSettings,
        clock: Clock,
        cloud_clock: CloudClock,
        live: LiveDisplay,
        watchdog: Watchdog,
        draw: Callable[[], float],
        reader_gave_up: Callable[[], bool] = lambda: False,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reader_gave_up, self._asked_reader_s = reader_gave_up, clock.mono_ns() / 1e9
        self._hurry = hurry
        self._outbox, self._courier, self._heartbeat, self._identity = outbox, courier, heartbeat, identity
        self._settings, self._clock, self._cloud_clock, self._draw = settings, clock, cloud_clock, draw
        self._watchdog = watchdog
        self._display = SyncDisplay(live, watchdog, clock)
        self._figures = Figures()
        self._backoff = Backoff()
        self._packer = Packer(outbox, BatchSize(settings.batch_rows_max))
        self._attempt = 0
        self._not_before_s = 0.0
        self._asked_to_wait = False
        self._fresh_since_s: float | None = None
        self._flushing = False
        self._sent: _Sent | None = None
        self._stop = threading.Event()

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
                self._fail(str(fault), state="log-fault")
                self._show(force=True)
                self._stop.wait(1.0)
            self._watchdog.pet()
        self._finish()

    def cycle(self) -> None:
        """One step: an answer taken, a request started, or a short wait."""
        self._see_what_is_new()
        self._see_the_reader()
        if self._heartbeat.step(self._figures):
            self._adopt_heartbeat()
        if self._sent is not None:
            self._packer.prepare(self._sent.packed)
            answer = self._sent.answer.wait(LOOK_EVERY_S)
            if answer is not None:
                self._take(self._sent, answer)
        elif not self._begin():
            self._stop.wait(self._pause_s())
        self._show()

    def _see_what_is_new(self) -> None:
        if not self._outbox.changed():
            return
        self._outbox.look()
        self._figures.pending = self._outbox.pending
        self._figures.oldest_at_ms = self._outbox.oldest_pending_at_ms()
        if self._figures.pending and self._fresh_since_s is None:
            self._fresh_since_s = self._mono_s()

    def _see_the_reader(self) -> None:
        if self._mono_s() - self._asked_reader_s < ASK_READER_EVERY_S:
            return
        self._asked_reader_s = self._mono_s()
        if self._reader_gave_up():
            raise LogDamaged("the reader found the log damaged", hint="Stop the services and run `aquasmart check`.")

    def _begin(self) -> bool:
        """Start the next batch if one is due."""
        now_s = self._mono_s()
        if now_s < self._not_before_s or not self._outbox.pending:
            return False
        # A backlog goes out without pause, to its last row; what trickles in waits for company first: no event has a
        # request of its own.
        waited = self._fresh_since_s is None or now_s - self._fresh_since_s >= self._settings.linger_s
        self._flushing = self._flushing or waited or self._outbox.pending >= self._packer.size.rows
        # What the cloud has makes room on the station: a reader short of space asks not to linger.
        self._flushing = self._flushing or self._hurry()
        if not self._flushing:
            return False
        packed = self._packer.next()
        if packed is None:
            return False
        self._send(packed, corrected=False)
        return True

    def _send(self, packed: Packed, *, corrected: bool) -> None:
        timestamp_ms = self._cloud_clock.now_ms(
            mono_ms=self._clock.mono_ns() // 1_000_000, wall_ms=self._clock.wall_ns() // 1_000_000
        )
        request = signed_request(self._identity, INGEST, packed.body, timestamp_ms, encoding=packed.encoding)
        self._figures.requests += 1
        self._figures.bytes_sent += len(packed.body)
        answer = self._courier.post(INGEST, request.headers, request.body)
        self._sent = _Sent(packed, request, answer, self._mono_s(), corrected)

    def _take(self, sent: _Sent, answer: Answer | NoAnswer) -> None:
        """Decide what an answer means and record it."""
        self._sent = None
        signed = is_signed(self._identity, sent.request, answer)
        if signed and isinstance(answer, Answer):
            self._cloud_clock.learn(answered_at_ms(answer), mono_ms=self._clock.mono_ns() // 1_000_000)
            self._figures.verified(self._clock.wall_ns() // 1_000_000)
            self._outbox.note_cloud_time(answered_at_ms(answer))
        now_s = self._clock.wall_ns() / 1e9
        outcome = outcome_of(answer, signed=signed, trace_id=sent.packed.trace_id, now_wall_s=now_s)
        self._act(sent, outcome)

    def _act(self, sent: _Sent, outcome: Outcome) -> None:
        now_ms = self._clock.wall_ns() // 1_000_000
        match outcome:
            case Delivered():
                self._delivered(sent, outcome, now_ms)
            case Rewind():
                settle_rewind(self._outbox, sent.packed.lane, outcome, now_ms)
                self._delay(f"the cloud asks from seq {outcome.expected_seq} on")
            case HeaderWanted():
                self._packer.want_header(sent.packed.lane)
                self._delay("the cloud asks for the stream's header")
            case PlainWanted():
                self._packer.want_plain()
                self._delay("the cloud asks for bodies without gzip")
            case Skewed() if not sent.corrected:
                self._cloud_clock.learn(outcome.server_time_ms, mono_ms=self._clock.mono_ns() // 1_000_000)
                self._send(sent.packed, corrected=True)
            case Skewed():
                self._fail("the cloud's clock and ours differ, also after correction")
            case Retry():
                if outcome.smaller:
                    self._packer.size.too_much(len(sent.packed.batch.rows))
                else:
                    self._packer.keep(sent.packed)
                self._fail(outcome.reason, after_s=outcome.after_s)
            case Unverified():
                self._packer.keep(sent.packed)
                self._fail(outcome.text, state="unverified")
            case Hold():
                self._packer.keep(sent.packed)
                self._figures.say("hold", f"the cloud says {outcome.code}: {outcome.detail}", now_ms)
                self._not_before_s = self._mono_s() + RECHECK_S * (0.9 + 0.1 * self._draw())

    def _delivered(self, sent: _Sent, outcome: Delivered, now_ms: int) -> None:
        settled = settle_delivered(self._outbox, sent.packed.lane, sent.packed.batch, outcome, now_ms)
        if settled is None:
            self._fail("the cloud's acknowledgement does not fit what was sent")
            return
        self._packer.header_known(sent.packed.lane)
        self._attempt = 0
        self._not_before_s = 0.0
        self._packer.size.delivered(self._mono_s() - sent.mono_s, len(sent.packed.batch.rows))
        self._figures.delivered(settled.rows, self._outbox.pending, now_ms, settled.difference)
        self._figures.oldest_at_ms = self._outbox.oldest_pending_at_ms()
        # What came in while this batch was under way has waited for company already.
        if not self._outbox.pending:
            self._fresh_since_s, self._flushing = None, False

    def _delay(self, reason: str) -> None:
        """Again soon, but never in a tight loop: a cloud that always asks for the same must not be hammered."""
        self._attempt += 1
        if self._attempt > 1:
            self._fail(reason)

    def _fail(self, reason: str, *, after_s: float | None = None, state: str = "offline") -> None:
        self._attempt += 1
        wait_s = self._backoff.delay_s(self._attempt, self._draw())
        self._asked_to_wait = after_s is not None
        if after_s is not None:
            wait_s = retry_after_s(after_s, self._draw(), limit_s=SIGNED_RETRY_AFTER_LIMIT_S)
        elif state == "unverified" and self._attempt > 10:
            wait_s = RECHECK_S * (0.5 + 0.5 * self._draw())
        self._not_before_s = self._mono_s() + wait_s
        self._figures.failed(state, reason, self._clock.wall_ns() // 1_000_000, wait_s)

    def _pause_s(self) -> float:
        return max(0.01, min(LOOK_EVERY_S, self._settings.linger_s or LOOK_EVERY_S))

    def _adopt_heartbeat(self) -> None:
        """A heartbeat that came through ends a telemetry backoff: the link is up. A wait the cloud asked for stays."""
        if self._heartbeat.came_through:
            self._figures.verified(self._clock.wall_ns() // 1_000_000)
            asked_to_wait = self._asked_to_wait and self._mono_s() < self._not_before_s
            if self._figures.state != "hold" and not asked_to_wait:
                self._not_before_s = min(self._not_before_s, self._mono_s())
                self._figures.say("online", "", self._clock.wall_ns() // 1_000_000)

    def _finish(self) -> None:
        """Leave within seconds: an answer that is nearly here is taken, and if online a final heartbeat is posted."""
        self._watchdog.stopping()
        online = self._figures.state == "online"
        if self._sent is not None:
            answer = self._sent.answer.wait(1.0 if online else 0.0)
            if answer is not None:
                sent = self._sent
                self._take(sent, answer)
            else:
                self._courier.abandon()
        self._figures.state = "stopped"
        if online:
            self._heartbeat.final(self._figures, STOP_S)
        self._show(force=True)
        self._outbox.close()

    def _show(self, *, force: bool = False) -> None:
        self._display.show(self._figures, self._mono_s(), self._not_before_s, force=force)

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
