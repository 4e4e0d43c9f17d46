"""The telemetry lane: batches out of the log, one in flight, and what each answer does to marks, sizes and waits.

`step` does one thing: start what is due, or take an answer and record it. Only this lane moves marks; the courier's
thread only carries bytes. A batch in flight when the process dies is sent again by the next one and dropped by the
cloud by its seqs: nothing is lost, nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Outbox
from ..core.backoff import CAP_S, Backoff
from ..core.batching import BatchSize
from ..core.bisecting import Verdict
from ..core.outcome import (
    Conflict,
    Delivered,
    HeaderWanted,
    Hold,
    KeyRefused,
    Outcome,
    PlainWanted,
    Refused,
    Retry,
    Rewind,
    Skewed,
    TooLarge,
    Unverified,
)
from ..core.pacing import Pace, recheck_in_s
from ..core.phrases import Phrase
from ..core.ports import Clock
from ..core.showing import ago
from ..core.token_bucket import TokenBucket
from .delivery import Acknowledged, read_acknowledgement, settle_rewind
from .exchange import Asked, Exchange
from .packing import Packed, Packer
from .suspects import Suspects
from .sync_display import Figures, ages_s

INGEST = "/v1/ingest"


@dataclass(frozen=True, slots=True)
class SyncSettings:
    linger_s: float
    batch_rows_max: int
    recheck_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    packed: Packed
    mono_s: float


class TelemetryLane:
    """Delivers one outbox. Constructed by wiring with everything it needs; used by sync's loop only."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        exchange: Exchange,
        settings: SyncSettings,
        clock: Clock,
        figures: Figures,
        draw: Callable[[], float],
        announced: Callable[[Mapping[str, Any]], None] = lambda _: None,
        hurry: Callable[[], bool] = lambda: False,
        allowance: TokenBucket | None = None,
    ) -> None:
        self._outbox, self._exchange, self._settings, self._clock = outbox, exchange, settings, clock
        self._figures, self._draw, self._announced, self._hurry = figures, draw, announced, hurry
        self._allowance, self._slowness = allowance or TokenBucket(), 1
        self._packer = Packer(outbox, BatchSize(settings.batch_rows_max))
        self._suspects = Suspects(outbox)
        self.pace = Pace(recheck_s=settings.recheck_s)
        self._fresh_since_s: float | None = None
        self._flushing = False
        self._sent: _Sent | None = None
        self._acknowledged_s: dict[int, float] = {}
        """When each stream was last acknowledged: what is said of it from before that is old."""

    def adopt(self, settings: SyncSettings) -> None:
        """Other settings, from the next batch on."""
        self._settings = settings
        self._packer.size.limit(settings.batch_rows_max)

    @property
    def next_due_s(self) -> float:
        """Not before this is anything sent; monotonic seconds."""
        return max(self.pace.not_before_s, self._suspects.next_s if self._figures.state == "hold" else 0.0)

    def take_time(self, slowness: int) -> None:
        """Linger so many times as long, and back off to so many times the cap; 1: as usual."""
        self._slowness, self.pace.backoff = slowness, Backoff(cap_s=CAP_S * slowness)
        self._figures.saving_power = slowness > 1

    def look(self) -> None:
        """Take note of what the reader has committed, where it has. Raises LogError."""
        if not self._outbox.changed():
            return
        self._outbox.look()
        self._count()
        if self._figures.pending and self._fresh_since_s is None:
            self._fresh_since_s = self._mono_s()

    def step(self, wait_s: float) -> bool:
        """Take the answer of what is in flight, waiting `wait_s` for it, or start what is due. False: nothing to do.

        Raises Fenced, LogError: a mark that could not be recorded stays where it was, and the batch goes out again.
        """
        if self._sent is None:
            return self._begin()
        self._packer.prepare(self._sent.packed, self._suspects.portions)
        sent, outcome = self._sent, self._exchange.outcome(wait_s)
        if not self._exchange.under_way:
            self._sent = None  # also where an answer was lost to a fault of ours: the batch goes out again
        if outcome is not None:
            took_s = self._mono_s() - sent.mono_s
            self._figures.tally.settled(outcome, took_s, answered=self._exchange.answered)
            self._act(sent, outcome)
        return True

    def finish(self, within_s: float) -> None:
        """Leave: an answer that is nearly here is taken."""
        if self._sent is not None:
            self.step(within_s)
        if self._exchange.under_way:
            self._exchange.abandon()
        self._sent = None

    def link_came_up(self) -> None:
        """The first request follows soon, spread over the fleet."""
        self.pace.link_came_up(self._mono_s(), self._draw(), self._figures.fleet)

    def way_may_be_free(self) -> None:
        """Somebody asks to try now: a wait of our own making is over, one that the cloud asked for stays."""
        self.pace.way_is_free(self._mono_s())

    def heard_elsewhere(self) -> None:
        """Another lane came through: the link is up. A wait that the cloud asked for stays."""
        if self.pace.asked_for or self._figures.state == "online":
            return
        self.pace.way_is_free(self._mono_s())
        self._say_how_it_is()

    def resend_from(self, wanted: Iterable[tuple[str, int, int]], asked_at_s: float) -> None:
        """The cloud lacks what it had acknowledged: it was restored from a backup. Streams go back to where it stands.

        `wanted`: stream, the seq the cloud wants next, its counts before it. `asked_at_s`: when the heartbeat left that
        is being answered; a stream acknowledged since is further than its answer knows. Raises Fenced, LogError.
        """
        for stream_id, seq, counts in wanted:
            lane = self._outbox.lane_of(stream_id)
            if lane is None or seq > lane.acked_seq or self._acknowledged_s.get(lane.number, -1.0) >= asked_at_s:
                continue
            self._rewind(lane, Rewind(seq, counts))
            # It may not know the stream at all any more: one refusal less.
            self._packer.want_header(lane)
        self._count()

    def note_resent(self, stream_id: str, seq: int, now_ms: int) -> None:
        """A dead letter was taken from a retry by hand. Raises Fenced, LogError."""
        self._outbox.note_resent(stream_id, seq, now_ms)
        self._count()

    def fail(self, reason: str, *, state: str = "offline") -> None:
        """Something of our own went wrong: again after a backoff."""
        wait_s = self.pace.failed(self._mono_s(), self._draw())
        self._figures.failed(state, reason, self._now_ms(), wait_s)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Start the next batch if one is due."""
        now_s = self._mono_s()
        if now_s < self.pace.not_before_s or not self._allowed(now_s):
            return False
        blocked = self._suspects.blocked(now_s)
        if not self._worth_sending(now_s, self._outbox.pending_beside(blocked)):
            return False
        packed = self._packer.next(blocked, self._suspects.portions)
        if packed is None:
            return False
        self._figures.sent(packed.trace_id, len(packed.body))
        self._exchange.ask(Asked(INGEST, packed.body, packed.trace_id, packed.encoding))
        self._sent = _Sent(packed, now_s)
        return True

    def _allowed(self, now_s: float) -> bool:
        """Whether a metered link has anything left; shown where it has not and something waits."""
        wait_s = self._allowance.wait_s(now_s)
        if wait_s > 0 and self._outbox.pending and self._figures.state in {"starting", "online"}:
            text = Phrase("the link's allowance (sync.bytes_per_hour) is used up; more in {time}", time=ago(wait_s))
            self._figures.say("online", text, self._now_ms())
        return wait_s <= 0

    def _worth_sending(self, now_s: float, pending: int) -> bool:
        """A backlog goes out without pause, to its last row; what trickles in waits for company first: no event has a
        request of its own. What the cloud has makes room on the station: a reader short of space asks not to linger.
        """
        if pending <= 0:
            return False  # and nothing has waited yet: what comes next lingers first
        waited = self._fresh_since_s is None or now_s - self._fresh_since_s >= self._settings.linger_s * self._slowness
        self._flushing = self._flushing or waited or pending >= self._packer.size.rows or self._hurry()
        return self._flushing

    # -- answers -----------------------------------------------------------------------------------------------------

    def _act(self, sent: _Sent, outcome: Outcome) -> None:
        packed, size = sent.packed, self._packer.size
        match outcome:
            case Delivered():
                self._announced(outcome.data)
                self._delivered(sent, outcome)
            case Rewind():
                self._rewind(packed.lane, outcome)
                self._soon(Phrase("the cloud asks from seq {expected_seq} on", expected_seq=outcome.expected_seq))
            case HeaderWanted():
                self._packer.want_header(packed.lane)
                self._soon(Phrase("the cloud asks for the stream's header"))
            case PlainWanted():
                self._packer.want_plain()
                self._soon(Phrase("the cloud asks for bodies without gzip"))
            case TooLarge() if len(packed.batch.rows) > 1:
                # At once: each is half of the one before, down to a single row.
                size.too_much(len(packed.batch.rows))
                self.pace.succeeded()
            case TooLarge():
                self._refused(packed, Refused("too-large", outcome.detail))
            case Refused():
                self._refused(packed, outcome)
            case Retry():
                self._retry(packed, outcome)
            case Skewed():
                self._packer.keep(packed)
                self.fail(Phrase("the cloud's clock and ours differ, also after correction"))
            case Unverified():
                self._packer.keep(packed)
                wait_s = self.pace.unverified(self._mono_s(), self._draw())
                self._figures.failed("unverified", outcome.text, self._now_ms(), wait_s)
            case Hold() | KeyRefused() | Conflict():
                self._packer.keep(packed)
                self._hold(outcome)

    def _delivered(self, sent: _Sent, outcome: Delivered) -> None:
        packed = sent.packed
        acknowledged = read_acknowledgement(packed.lane, packed.batch, outcome)
        if acknowledged is None:
            self.fail(Phrase("the cloud's acknowledgement does not fit what was sent"))
            return
        if isinstance(acknowledged, Rewind):
            self._rewind(packed.lane, acknowledged)
            self._soon(
                Phrase(
                    "the cloud has less than was sent, and asks from seq {expected_seq} on",
                    expected_seq=acknowledged.expected_seq,
                )
            )
            return
        self._record(packed, acknowledged)
        self._packer.header_known(packed.lane)
        self._acknowledged_s[packed.lane.number] = self._mono_s()
        self.pace.succeeded()
        self._packer.size.delivered(self._mono_s() - sent.mono_s, len(packed.batch.rows))
        self._count()
        self._say_how_it_is()
        # What came in while this batch was under way has waited for company already.
        if not self._outbox.pending_beside(self._suspects.blocked(self._mono_s())):
            self._fresh_since_s, self._flushing = None, False

    def _record(self, packed: Packed, acknowledged: Acknowledged) -> None:
        """The mark, with the dead letter where a refused row's gap was taken: in one transaction, or neither."""
        now_ms, against = self._now_ms(), self._suspects.delivered(packed)
        if against is None or packed.replaced is None:
            self._outbox.move_mark(acknowledged.mark, now_ms)
        else:
            row, before = packed.replaced, packed.batch.counts_before
            self._outbox.bury(acknowledged.mark, row, before, against, now_ms)
        self._figures.delivered(acknowledged.rows, self._outbox.pending, now_ms, acknowledged.difference)
        self._figures.tally.delivered(ages_s(packed.batch.rows, now_ms))

    def _rewind(self, lane: Lane, rewind: Rewind) -> None:
        settle_rewind(self._outbox, lane, rewind, self._now_ms())
        self._suspects.forget(lane.number)
        self._packer.forget()
        self._fresh_since_s = self._fresh_since_s or self._mono_s()

    def _refused(self, packed: Packed, refused: Refused) -> None:
        """Search for the row, or hold the stream. Other streams go on at once either way."""
        now_s = self._mono_s()
        until_s = now_s + recheck_in_s(self._settings.recheck_s, self._draw())
        verdict = Verdict(refused, packed.trace_id)
        if self._suspects.refused(packed, verdict, now_ms=self._now_ms(), until_s=until_s):
            # Not a failure of the link: each step of the search is half as long as the one before.
            self.pace.succeeded()
        else:
            self._figures.say("hold", self._suspects.hold, self._now_ms())

    def _retry(self, packed: Packed, retry: Retry) -> None:
        rows, size = len(packed.batch.rows), self._packer.size
        if retry.smaller:
            size.too_much(rows)
        elif retry.timed_out:
            size.too_slow(rows)
        elif not (retry.broke_off and size.broke_off(rows)):
            self._packer.keep(packed)
        wait_s = self.pace.failed(self._mono_s(), self._draw(), after_s=retry.after_s, verified=retry.verified)
        told = retry.after_s is not None
        self._figures.failed("offline", retry.reason, self._now_ms(), wait_s, told=told)

    def _hold(self, outcome: Hold | KeyRefused | Conflict) -> None:
        code, detail = ("config-conflict", "") if isinstance(outcome, Conflict) else (outcome.code, outcome.detail)
        self.pace.held(self._mono_s(), self._draw())
        text = Phrase("the cloud says {code}: {detail}", code=code, detail=detail)
        if not detail:
            text = Phrase("the cloud says {code}", code=code)
        self._figures.say("hold", text, self._now_ms())

    def _soon(self, reason: str) -> None:
        """Again at once, but never in a tight loop: a cloud that always asks for the same must not be hammered."""
        if self.pace.attempt:
            self.fail(reason)
        else:
            self.pace.attempt = 1

    def _say_how_it_is(self) -> None:
        """Online, unless a stream is held: then that is what a technician must see."""
        hold = self._suspects.hold
        self._figures.say("hold" if hold else "online", hold, self._now_ms())

    def _count(self) -> None:
        self._figures.pending = self._outbox.pending
        self._figures.oldest_at_ms = self._outbox.oldest_pending_at_ms()
        self._figures.dead_letters = self._outbox.dead_letters

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000
