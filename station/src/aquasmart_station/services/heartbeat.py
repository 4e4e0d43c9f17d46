"""The heartbeat lane: what the station says of itself, each minute and once more when it stops.

Independent of telemetry: neither's backoff delays the other. A heartbeat carries no volume and moves no mark.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..core.backoff import Backoff
from ..core.conversation import CloudClock, Identity, SignedRequest, answered_at_ms, is_signed, signed_request
from ..core.encoding import compact
from ..core.outcome import Answer, Delivered, NoAnswer, Skewed, outcome_of
from ..core.ports import Clock, Courier, InFlight
from ..core.showing import MeterState
from .sync_display import Figures

HEARTBEAT = "/v1/heartbeat"
NO_CONFIG_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: no remote configuration has been applied."""


class HeartbeatLane:
    """Posts a heartbeat each `interval_s`, and sooner after one that failed."""

    def __init__(
        self,
        *,
        courier: Courier,
        identity: Identity,
        clock: Clock,
        cloud_clock: CloudClock,
        interval_s: float,
        meters: Callable[[], dict[str, MeterState]],
        draw: Callable[[], float],
    ) -> None:
        self._courier, self._identity, self._clock, self._cloud_clock = courier, identity, clock, cloud_clock
        self._interval_s, self._meters, self._draw = interval_s, meters, draw
        self._backoff = Backoff(base_s=2.0, cap_s=max(2.0, min(30.0, interval_s)))
        self._started_ns = clock.mono_ns()
        self._next_s = 0.0
        self._attempt = 0
        self._flying: tuple[SignedRequest, InFlight, str] | None = None
        self.came_through = False

    def step(self, figures: Figures) -> bool:
        """Post if due, take an answer if one is there. True where a heartbeat has just been settled."""
        now_s = self._clock.mono_ns() / 1e9
        if self._flying is None:
            if now_s >= self._next_s:
                self._post(figures)
            return False
        request, flying, trace_id = self._flying
        answer = flying.wait(0.0)
        if answer is None:
            return False
        self._flying = None
        self._settle(request, answer, trace_id, now_s)
        return True

    def final(self, figures: Figures, within_s: float) -> bool:
        """The last words before stopping. True where the cloud has acknowledged them."""
        self._courier.abandon()
        self._post(figures)
        assert self._flying is not None
        request, flying, _ = self._flying
        answer = flying.wait(within_s)
        return answer is not None and is_signed(self._identity, request, answer)

    def _post(self, figures: Figures) -> None:
        trace_id = secrets.token_hex(16)
        body = compact(self._document(figures, trace_id)).encode()
        timestamp_ms = self._cloud_clock.now_ms(
            mono_ms=self._clock.mono_ns() // 1_000_000, wall_ms=self._clock.wall_ns() // 1_000_000
        )
        request = signed_request(self._identity, HEARTBEAT, body, timestamp_ms)
        self._flying = (request, self._courier.post(HEARTBEAT, request.headers, request.body), trace_id)

    def _settle(self, request: SignedRequest, answer: Answer | NoAnswer, trace_id: str, now_s: float) -> None:
        signed = is_signed(self._identity, request, answer)
        mono_ms = self._clock.mono_ns() // 1_000_000
        if signed and isinstance(answer, Answer):
            self._cloud_clock.learn(answered_at_ms(answer), mono_ms=mono_ms)
        outcome = outcome_of(answer, signed=signed, trace_id=trace_id, now_wall_s=self._clock.wall_ns() / 1e9)
        self.came_through = isinstance(outcome, Delivered)
        if self.came_through:
            self._attempt, self._next_s = 0, now_s + self._interval_s
            return
        self._attempt += 1
        # Once corrected, sign again at once; otherwise wait.
        at_once = isinstance(outcome, Skewed) and self._attempt == 1
        self._next_s = now_s if at_once else now_s + self._backoff.delay_s(self._attempt, self._draw())

    def _document(self, figures: Figures, trace_id: str) -> dict[str, Any]:
        now_ms = self._clock.wall_ns() // 1_000_000
        oldest_s = 0 if figures.oldest_at_ms is None else max(0, (now_ms - figures.oldest_at_ms) // 1000)
        return {
            "meta": {
                "trace_id": trace_id,
                "timestamp": datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            },
            "payload": {
                "state": figures.state,
                "software": self._identity.software,
                "uptime_s": (self._clock.mono_ns() - self._started_ns) // 1_000_000_000,
                "clock": self._clock.quality(),
                "pending": figures.pending,
                "oldest_pending_s": oldest_s if figures.pending else 0,
                "meters": [
                    {"meter_id": meter.meter_id, "state": meter.state, "counts": meter.counts}
                    for meter in self._meters().values()
                ],
                "config": {"version": 0, "sha256": NO_CONFIG_SHA256},
                "keys": [self._identity.key_id],
            },
        }
