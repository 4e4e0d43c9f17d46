"""One signed request and what its answer comes to: verified, the clock corrected once, the other key tried once.

Every lane speaks to the cloud through one of these, so that the rules about signatures stand in one place: only a
verified answer teaches the clock; a repetition is signed afresh; each request remembers which key signed it, whatever
was preferred since. It decides nothing about marks, waits or states: that is the lane's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core.conversation import CloudClock, Identity, SignedRequest, answered_at_ms, is_signed, signed_request
from ..core.keyring import KeyRing
from ..core.outcome import (
    Answer,
    Delivered,
    Hold,
    KeyRefused,
    LaneName,
    NoAnswer,
    Outcome,
    Skewed,
    Unverified,
    outcome_of,
)
from ..core.ports import Clock, Courier, InFlight
from ..core.tracing import RequestSpan, span_id, traceparent


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be asked, before it is signed."""

    target: str
    body: bytes
    trace_id: str
    encoding: str | None = None
    method: str = "POST"
    idempotency_key: str | None = None
    if_match: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers; what they say is not signed."""
    as_bytes: bool = False
    """A verified 2xx is wanted as it came: `Delivered` with its `body` and `content_range`."""


@dataclass(frozen=True, slots=True)
class _Sent:
    asked: Asked
    identity: Identity
    request: SignedRequest
    answer: InFlight
    corrected: bool = False
    """Whether the clock was corrected for this request already."""
    key_refused: Hold | None = None
    """What a first key was told, signed, while the other has its try."""
    keys_tried: int = 1
    began_ns: int = 0


class Exchange:
    """One request at a time over one courier. Used by one thread."""

    def __init__(
        self,
        courier: Courier,
        keys: KeyRing,
        clock: Clock,
        cloud_clock: CloudClock,
        *,
        lane: LaneName = "telemetry",
        heard: Callable[[int], None] = lambda _: None,
        span: Callable[[RequestSpan], None] = lambda _: None,
    ) -> None:
        """`heard` is told the cloud's time, in ms, of every verified answer, whatever it says; `span` of each request
        that has ended.
        """
        self._courier, self._keys, self._clock, self._cloud_clock = courier, keys, clock, cloud_clock
        self._lane, self._heard, self._span = lane, heard, span
        self._sent: _Sent | None = None
        self.requests = 0
        """How many have been sent, repetitions included."""
        self.answered = False
        """Whether the latest outcome came of a whole answer, whoever gave it."""

    @property
    def under_way(self) -> bool:
        return self._sent is not None

    def cloud_time_ms(self) -> int | None:
        """The cloud's time by the last verified answer of any lane and the monotonic clock since; None before one."""
        return self._cloud_clock.told_ms(mono_ms=self._mono_ms())

    def ask(self, asked: Asked) -> None:
        """Sign with the preferred key and send."""
        identity = self._keys.current
        request, answer = self._sign_and_post(identity, asked)
        self._sent = _Sent(asked, identity, request, answer, began_ns=self._clock.wall_ns())

    def outcome(self, wait_s: float) -> Outcome | None:
        """What the answer comes to, None while there is none: the request is under way, or had to be repeated.

        `Skewed` and `KeyRefused` never come out as they are before their one repetition; what is left of them then is
        a `Skewed` to back off from, and a `Hold`.
        """
        sent = self._sent
        if sent is None:
            return None
        answer = sent.answer.wait(wait_s)
        if answer is None:
            return None
        self._sent = None
        outcome = self._judge(sent, answer)
        self._tell_span(sent, outcome)
        match outcome:
            case Skewed() if not sent.corrected:
                self._cloud_clock.learn(outcome.server_time_ms, mono_ms=self._mono_ms())
                self._repeat(replace(sent, corrected=True), sent.identity)
            case KeyRefused():
                if self._try_other(replace(sent, key_refused=outcome.hold())):
                    return None
                return outcome.hold()
            case Unverified() if outcome.other_key:
                if self._try_other(sent):
                    return None
                # What the cloud said of a key, signed, outweighs what somebody says of the other.
                return sent.key_refused or outcome
            case _:
                return outcome
        return None

    def abandon(self) -> None:
        """Forget the request under way and its connection."""
        self._sent = None
        self._courier.abandon()

    def _judge(self, sent: _Sent, answer: Answer | NoAnswer) -> Outcome:
        self.answered = isinstance(answer, Answer)
        signed = is_signed(sent.identity, sent.request, answer)
        if signed and isinstance(answer, Answer):
            at_ms = answered_at_ms(answer)
            self._cloud_clock.learn(at_ms, mono_ms=self._mono_ms())
            self._heard(at_ms)
            if sent.asked.as_bytes and 200 <= answer.status < 300:
                return Delivered({"body": answer.body, "content_range": answer.headers.get("content-range", "")})
        return outcome_of(
            answer,
            signed=signed,
            trace_id=sent.asked.trace_id,
            now_wall_s=self._clock.wall_ns() / 1e9,
            lane=self._lane,
        )

    def _tell_span(self, sent: _Sent, outcome: Outcome) -> None:
        asked, ended_ns = sent.asked, self._clock.wall_ns()
        own = span_id(sent.request.signature)
        told = (asked.method, asked.target, sent.began_ns, ended_ns, self.answered, type(outcome).__name__)
        self._span(RequestSpan(asked.trace_id, own, *told))

    def _try_other(self, sent: _Sent) -> bool:
        """The same request with the other key, once. False where there is no other, or it had its turn."""
        if sent.keys_tried > 1 or self._keys.other is None:
            return False
        if self._keys.current is sent.identity:  # unless another lane has turned the ring meanwhile
            self._keys.use_other()
        self._repeat(replace(sent, keys_tried=2), self._keys.current)
        return True

    def _repeat(self, sent: _Sent, identity: Identity) -> None:
        request, answer = self._sign_and_post(identity, sent.asked)
        began_ns = self._clock.wall_ns()
        self._sent = replace(sent, identity=identity, request=request, answer=answer, began_ns=began_ns)

    def _sign_and_post(self, identity: Identity, asked: Asked) -> tuple[SignedRequest, InFlight]:
        timestamp_ms = self._cloud_clock.now_ms(mono_ms=self._mono_ms(), wall_ms=self._clock.wall_ns() // 1_000_000)
        request = signed_request(
            identity,
            asked.target,
            asked.body,
            timestamp_ms,
            encoding=asked.encoding,
            method=asked.method,
            idempotency_key=asked.idempotency_key,
            if_match=asked.if_match,
        )
        self.requests += 1
        # So that the cloud's log has our trace id also for a body that it could not read, or that there is none of.
        traced = traceparent(asked.trace_id, request.signature)
        headers = {**asked.headers, **request.headers, "traceparent": traced}
        if asked.method == "GET":
            return request, self._courier.get(asked.target, headers)
        return request, self._courier.post(asked.target, headers, request.body)

    def _mono_ms(self) -> int:
        return self._clock.mono_ns() // 1_000_000
