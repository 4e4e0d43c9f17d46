"""The heartbeat lane: what the station says of itself, each minute and once more when it stops.

Independent of telemetry: neither's backoff delays the other. A heartbeat carries no volume and moves no mark by itself;
what its answer asks to be sent again is telemetry's to decide.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..core.backoff import Backoff
from ..core.encoding import compact, compress
from ..core.outcome import Delivered, Hold, KeyRefused, Outcome, Retry, Unverified
from ..core.pacing import Pace
from ..core.ports import Clock
from ..core.retained import Holding, read_resend_from, retained_digest
from ..core.showing import MeterState
from .exchange import Asked, Exchange
from .sync_display import Figures

HEARTBEAT = "/v1/heartbeat"
NO_CONFIG_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: no remote configuration has been applied."""
WHOLE_LIST_EVERY_S = 86_400.0
"""How often the list of what is retained goes whole, besides at the start and when the cloud asks for it."""
COMPRESS_ABOVE_BYTES = 1_000


class HeartbeatLane:
    """Posts a heartbeat each `interval_s`, and sooner after one that failed. A side lane of sync."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        figures: Figures,
        clock: Clock,
        software: str,
        interval_s: float,
        recheck_s: float,
        meters: Callable[[], dict[str, MeterState]],
        retained: Callable[[], Sequence[Holding]],
        draw: Callable[[], float],
        facts: Callable[[], dict[str, Any]] = dict,
        announced: Callable[[Mapping[str, Any]], None] = lambda _: None,
        came_through: Callable[[], None] = lambda: None,
        resend: Callable[[Sequence[tuple[str, int, int]], float], None] = lambda _wanted, _asked_at_s: None,
    ) -> None:
        """`facts` are merged into the payload. `announced` gets each verified answer's data, `resend` what the cloud
        lacks, `came_through` is called for every heartbeat that was taken."""
        self._exchange, self._figures, self._clock, self._software = exchange, figures, clock, software
        self._interval_s, self._meters, self._retained, self._draw = interval_s, meters, retained, draw
        self.facts, self.announced = facts, announced
        self.came_through, self.resend = came_through, resend
        self._pace = Pace(Backoff(base_s=2.0, cap_s=max(2.0, min(30.0, interval_s))), recheck_s)
        self._started_ns = clock.mono_ns()
        self.next_due_s = 0.0
        self._asked_at_s = 0.0
        self._whole_due_s = 0.0
        self._carries_list = False

    def adopt(self, interval_s: float) -> None:
        """Another interval; the next heartbeat is due no later than by it."""
        self._interval_s = interval_s
        self._pace.backoff = Backoff(base_s=2.0, cap_s=max(2.0, min(30.0, interval_s)))
        if not self._pace.attempt:
            self.next_due_s = min(self.next_due_s, self._now_s() + interval_s)

    def step(self) -> None:
        """Post if due, take an answer if one is there."""
        if not self._exchange.under_way:
            # A link that comes up makes a heartbeat due sooner, but ends no wait that the cloud asked for.
            asked_for_s = self._pace.not_before_s if self._pace.asked_for else 0.0
            if self._now_s() >= max(self.next_due_s, asked_for_s):
                self._post()
            return
        outcome = self._exchange.outcome(0.0)
        if outcome is not None:
            self._settle(outcome)

    def finish(self, within_s: float) -> None:
        """The last words before stopping."""
        if self._exchange.under_way:
            self._exchange.abandon()
        if within_s > 0:
            self._post()
            self._exchange.outcome(within_s)

    def _post(self) -> None:
        self._asked_at_s = self._now_s()
        trace_id = secrets.token_hex(16)
        body = compact(self._document(trace_id)).encode()
        packed = compress(body) if len(body) > COMPRESS_ABOVE_BYTES else body
        self._exchange.ask(Asked(HEARTBEAT, packed, trace_id, None if packed is body else "gzip"))

    def _settle(self, outcome: Outcome) -> None:
        now_s = self._now_s()
        match outcome:
            case Delivered():
                self._pace.succeeded()
                self.next_due_s = now_s + self._interval_s
                self._taken(outcome.data, now_s)
                return
            case Hold() | KeyRefused():
                self._pace.held(now_s, self._draw())
            case Unverified():
                self._pace.unverified(now_s, self._draw())
            case Retry():
                self._pace.failed(now_s, self._draw(), after_s=outcome.after_s, verified=outcome.verified)
            case _:
                self._pace.failed(now_s, self._draw())
        self.next_due_s = self._pace.not_before_s

    def _taken(self, data: Mapping[str, Any], now_s: float) -> None:
        self._figures.verified(self._clock.wall_ns() // 1_000_000)
        if self._carries_list:
            self._whole_due_s = now_s + WHOLE_LIST_EVERY_S
        if data.get("retained") == "wanted":
            # At once: what the cloud lacks should not wait for the next minute.
            self._whole_due_s = self.next_due_s = now_s
        self.announced(data)
        self.came_through()
        wanted = read_resend_from(data)
        if wanted:
            self.resend(wanted, self._asked_at_s)

    def _document(self, trace_id: str) -> dict[str, Any]:
        now_ms, figures = self._clock.wall_ns() // 1_000_000, self._figures
        oldest_s = 0 if figures.oldest_at_ms is None else max(0, (now_ms - figures.oldest_at_ms) // 1000)
        payload: dict[str, Any] = {
            "state": figures.state,
            "software": self._software,
            "uptime_s": (self._clock.mono_ns() - self._started_ns) // 1_000_000_000,
            "clock": self._clock.quality(),
            "pending": figures.pending,
            "oldest_pending_s": oldest_s if figures.pending else 0,
            "meters": [
                {"meter_id": meter.meter_id, "state": meter.state, "counts": meter.counts}
                for meter in self._meters().values()
            ],
            "config": {"version": 0, "sha256": NO_CONFIG_SHA256},
            "dead_letters": figures.dead_letters,
        }
        timestamp = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
        meta = {"trace_id": trace_id, "timestamp": timestamp}
        return {"meta": meta, "payload": payload | self._what_is_retained() | self.facts()}

    def _what_is_retained(self) -> dict[str, Any]:
        """The digest of the closed streams; and the whole list at the start, daily, and when the cloud asks for it."""
        holdings = self._retained()
        said: dict[str, Any] = {"retained_digest": retained_digest(holdings)}
        self._carries_list = self._now_s() >= self._whole_due_s
        if self._carries_list:
            said["retained"] = [each.document() for each in holdings]
        return said

    def _now_s(self) -> float:
        return self._clock.mono_ns() / 1e9
