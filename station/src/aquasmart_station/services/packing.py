"""Batches as bytes: which rows go next, in what form, and one batch prepared while another is under way."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Mark, Outbox
from ..core.batching import BatchSize, too_long
from ..core.bisecting import Portion
from ..core.encoding import Batch, as_gap, compress, encode_batch
from ..core.model import Row

NOTHING: Mapping[int, Portion] = {}


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as bytes. The same bytes, with the same trace id, over all its retries; only the signature is fresh.

    Except that the boot's time has become known meanwhile: the same rows are then packed anew, with their true times.
    Where the cloud has the former batch after all, it drops them by their seqs.
    """

    lane: Lane
    batch: Batch
    trace_id: str
    body: bytes
    encoding: str | None
    portion: Portion | None = None
    """Of a suspected stream: what was to be tried."""
    replaced: Row | None = None
    """The row whose gap is the batch's only row, to see whether the cloud takes that."""


class Packer:
    """Takes the next batch out of the outbox and packs it as the cloud wants it."""

    def __init__(self, outbox: Outbox, size: BatchSize) -> None:
        self._outbox = outbox
        self.size = size
        self._ready: Packed | None = None
        self._headers_wanted: set[int] = set()
        self._plain = False

    def next(self, blocked: frozenset[int] = frozenset(), portions: Mapping[int, Portion] = NOTHING) -> Packed | None:
        """The batch whose turn it is: the one that is ready if the mark stands right before it, else a fresh one.

        Streams in `blocked` are passed over; of those in `portions` just that much is taken. A stream with nothing to
        send yet (a damaged last row, while it is open) does not keep the others waiting either.
        """
        ready, self._ready = self._ready, None
        while (lane := self._outbox.next_lane(blocked)) is not None:
            portion = portions.get(lane.number)
            if ready and _fits(ready, lane, portion) and ready.batch.clock == self._outbox.clock_of(lane):
                return ready
            batch = self._outbox.batch(lane, portion.rows if portion else self.size.rows)
            if batch is not None:
                return self._pack_portion(lane, batch, portion) if portion else self._pack(lane, batch)
            blocked |= {lane.number}
        return None

    def prepare(self, sent: Packed, portions: Mapping[int, Portion] = NOTHING) -> None:
        """Pack the batch after `sent`, so that the link need not wait for us: one ahead, never more.

        Only whole batches: what trickles in would be stale by then. If the answer is not the expected one, it was work
        for nothing and no more: `next` looks where the mark stands.
        """
        lane, batch = sent.lane, sent.batch
        if self._ready is None and lane.number not in portions and lane.last_seq - batch.through_seq >= self.size.rows:
            mark = Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position)
            following = self._outbox.batch(lane, self.size.rows, mark)
            self._ready = None if following is None else self._pack(lane, following)

    def keep(self, sent: Packed) -> None:
        """`sent` was not delivered: it goes out again as it is, under its trace id."""
        self._ready = sent

    def forget(self) -> None:
        """What was prepared is no longer what is to go next."""
        self._ready = None

    def want_header(self, lane: Lane) -> None:
        """The cloud does not know this stream (any more): its header goes whole until a batch is acknowledged."""
        self._headers_wanted.add(lane.number)
        self._ready = None

    def header_known(self, lane: Lane) -> None:
        self._headers_wanted.discard(lane.number)

    def want_plain(self) -> None:
        """Something between us and the cloud does not take gzip."""
        self._plain, self._ready = True, None

    def _pack_portion(self, lane: Lane, batch: Batch, portion: Portion) -> Packed:
        """The portion, as a gap where that is asked and there is anything to replace."""
        if not portion.as_gap:
            return replace(self._pack(lane, replace(batch, rows=batch.rows[: portion.rows])), portion=portion)
        row = batch.rows[0]
        return replace(self._pack(lane, replace(batch, rows=[as_gap(row)])), portion=portion, replaced=row)

    def _pack(self, lane: Lane, batch: Batch) -> Packed:
        """As many rows of `batch` as one request may carry: rows with long data make a body longer than most."""
        trace_id = secrets.token_hex(16)
        whole = batch.first_seq == 1 or lane.number in self._headers_wanted
        while True:
            body = encode_batch(batch, trace_id=trace_id, whole_header=whole)
            packed = body if self._plain else compress(body)
            smaller = packed if len(packed) < len(body) else body
            if len(batch.rows) == 1 or not too_long(len(body), len(smaller)):
                return Packed(lane, batch, trace_id, smaller, "gzip" if smaller is packed and not self._plain else None)
            batch = replace(batch, rows=batch.rows[: len(batch.rows) // 2])


def _fits(ready: Packed, lane: Lane, portion: Portion | None) -> bool:
    """Whether what is ready is what would be packed now: its stream's turn, right behind the mark, the same portion."""
    return ready.lane is lane and ready.batch.first_seq == lane.acked_seq + 1 and ready.portion == portion
