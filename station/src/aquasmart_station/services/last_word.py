"""One stream delivered outside the sync service: the last thing a station says before its log is wiped.

The same packing, signing and settling as sync's; only the loop is short, and gives up after a few answers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Outbox
from ..core.conversation import CloudClock, Identity, answered_at_ms, is_signed, signed_request
from ..core.encoding import compress, encode_batch
from ..core.outcome import Answer, Delivered, NoAnswer, Rewind, Skewed, outcome_of
from ..core.ports import Clock, Courier
from .delivery import settle_delivered, settle_rewind

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
            cloud_clock = CloudClock()
            for _ in range(ATTEMPTS):
                if lane is None or not lane.pending:
                    break
                if not self._exchange(lane, cloud_clock):
                    return False
            return lane is not None and not lane.pending
        finally:
            self.outbox.close()

    def _exchange(self, lane: Lane, cloud_clock: CloudClock) -> bool:
        """One request and what its answer changes; False where another would be useless."""
        batch = self.outbox.batch(lane, 1_000)
        if batch is None:
            return False
        trace_id = secrets.token_hex(16)
        body = compress(encode_batch(batch, trace_id=trace_id, whole_header=True))
        wall_ms, mono_ms = self.clock.wall_ns() // 1_000_000, self.clock.mono_ns() // 1_000_000
        at_ms = cloud_clock.now_ms(mono_ms=mono_ms, wall_ms=wall_ms)
        request = signed_request(self.identity, INGEST, body, at_ms, encoding="gzip")
        answer = self.courier.post(INGEST, request.headers, request.body).wait(ANSWER_S) or NoAnswer(
            "no answer in time"
        )
        signed = is_signed(self.identity, request, answer)
        if signed and isinstance(answer, Answer):
            cloud_clock.learn(answered_at_ms(answer), mono_ms=self.clock.mono_ns() // 1_000_000)
        outcome = outcome_of(answer, signed=signed, trace_id=trace_id, now_wall_s=wall_ms // 1_000)
        match outcome:
            case Delivered():
                return settle_delivered(self.outbox, lane, batch, outcome, wall_ms) is not None
            case Rewind():
                settle_rewind(self.outbox, lane, outcome, wall_ms)
                return True
            case Skewed():
                return True
        return False
