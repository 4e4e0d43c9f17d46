"""Batches as bytes: which rows go next, in what form, and one batch prepared while another is under way."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Mark, Outbox
from ..core.batching import BatchSize
from ..core.encoding import Batch, compress, encode_batch


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as bytes. The same bytes, with the same trace id, over all its retries; only the signature is fresh."""

    lane: Lane
    batch: Batch
    trace_id: str
    body: bytes
    encoding: str | None


class Packer:
    """Takes the next batch out of the outbox and packs it as the cloud wants it."""

    def __init__(self, outbox: Outbox, size: BatchSize) -> None:
        self._outbox = outbox
        self.size = size
        self._ready: Packed | None = None
        self._headers_wanted: set[int] = set()
        self._plain = False

    def next(self) -> Packed | None:
        """The batch whose turn it is: the one that is ready if the mark stands right before it, else a fresh one.

        A stream with nothing to send yet (a damaged last row, while it is open) does not keep the others waiting.
        """
        ready, self._ready = self._ready, None
        blocked: frozenset[int] = frozenset()
        while (lane := self._outbox.next_lane(blocked)) is not None:
            if ready and ready.lane is lane and ready.batch.first_seq == lane.acked_seq + 1:
                return ready
            batch = self._outbox.batch(lane, self.size.rows)
            if batch is not None:
                return self._pack(lane, batch)
            blocked |= {lane.number}
        return None

    def prepare(self, sent: Packed) -> None:
        """Pack the batch after `sent`, so that the link need not wait for us: one ahead, never more.

        Only whole batches: what trickles in would be stale by then. If the answer is not the expected one, it was work
        for nothing and no more: `next` looks where the mark stands.
        """
        lane, batch = sent.lane, sent.batch
        if self._ready is None and lane.last_seq - batch.through_seq >= self.size.rows:
            mark = Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position)
            following = self._outbox.batch(lane, self.size.rows, mark)
            self._ready = None if following is None else self._pack(lane, following)

    def keep(self, sent: Packed) -> None:
        """`sent` was not delivered: it goes out again as it is, under its trace id."""
        self._ready = sent

    def want_header(self, lane: Lane) -> None:
        """The cloud does not know this stream (any more): its header goes whole until a batch is acknowledged."""
        self._headers_wanted.add(lane.number)
        self._ready = None

    def header_known(self, lane: Lane) -> None:
        self._headers_wanted.discard(lane.number)

    def want_plain(self) -> None:
        """Something between us and the cloud does not take gzip."""
        self._plain, self._ready = True, None

    def _pack(self, lane: Lane, batch: Batch) -> Packed:
        trace_id = secrets.token_hex(16)
        whole = batch.first_seq == 1 or lane.number in self._headers_wanted
        body = encode_batch(batch, trace_id=trace_id, whole_header=whole)
        packed = body if self._plain else compress(body)
        if len(packed) < len(body):
            return Packed(lane, batch, trace_id, packed, "gzip")
        return Packed(lane, batch, trace_id, body, None)
