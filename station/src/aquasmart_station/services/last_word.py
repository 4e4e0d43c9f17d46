"""One stream delivered outside the sync service: the last thing a station says before its log is wiped.

The same packing, signing and settling as sync's; only the loop is short, and gives up after a few answers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Outbox
from ..core.conversation import CloudClock, Identity
from ..core.encoding import compress, encode_batch
from ..core.keyring import KeyRing
from ..core.outcome import Delivered, Rewind
from ..core.ports import Clock, Courier
from .delivery import settle_delivered, settle_rewind
from .exchange import Asked, Exchange

INGEST = "/v1/ingest"
ATTEMPTS = 3
ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class LastWord:
    """Sends what one stream still has, under sync.lock. Constructed by wiring."""

    outbox: Outbox
    courier: Courier
    identity: Identity
    clock: Clock

    def deliver(self, stream_id: str) -> bool:
        """True where the cloud has acknowledged all of the stream, signed. Raises LogError."""
        now_ms = self.clock.wall_ns() // 1_000_000
        self.outbox.take_over(now_ms)
        try:
            self.outbox.look()
            lane = next((lane for lane in self.outbox.lanes.values() if str(lane.header.id) == stream_id), None)
            exchange = Exchange(self.courier, KeyRing([self.identity]), self.clock, CloudClock())
            for _ in range(ATTEMPTS):
                if lane is None or not lane.pending:
                    break
                if not self._deliver(lane, exchange):
                    return False
            return lane is not None and not lane.pending
        finally:
            self.outbox.close()

    def _deliver(self, lane: Lane, exchange: Exchange) -> bool:
        """One request and what its answer changes; False where another would be useless."""
        batch = self.outbox.batch(lane, 1_000)
        if batch is None:
            return False
        trace_id = secrets.token_hex(16)
        body = compress(encode_batch(batch, trace_id=trace_id, whole_header=True))
        exchange.ask(Asked(INGEST, body, trace_id, "gzip"))
        until_s = self.clock.mono_ns() / 1e9 + ANSWER_S
        outcome = None
        while outcome is None and self.clock.mono_ns() / 1e9 < until_s:
            outcome = exchange.outcome(1.0)
        now_ms = self.clock.wall_ns() // 1_000_000
        match outcome:
            case Delivered():
                return settle_delivered(self.outbox, lane, batch, outcome, now_ms)
            case Rewind():
                settle_rewind(self.outbox, lane, outcome, now_ms)
                return True
        return False
