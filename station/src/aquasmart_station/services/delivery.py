"""What a verified outcome does to the marks: the only place that decides where a high-water mark goes.

No I/O of its own beyond the outbox it is given. A mark moves for `Delivered` and `Rewind` only, both signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Mark, Outbox
from ..core.encoding import Batch
from ..core.outcome import Delivered, Rewind


@dataclass(frozen=True, slots=True)
class Settled:
    """What was recorded: rows the cloud has by now, and a difference in the books where there is one."""

    mark: Mark
    rows: int
    difference: str = ""


def settle_delivered(outbox: Outbox, lane: Lane, batch: Batch, outcome: Delivered, now_ms: int) -> Settled | None:
    """Record an acknowledgement. None where its figures make no sense: then nothing moves and the batch is sent again.

    `acked_through` above what was sent is legitimate (a rolled-back card, an import) and capped at the last seq sent:
    rows beyond that have not been compared. Counts are compared only when it names exactly the last seq sent.
    """
    data = outcome.data
    acked, counts = data.get("acked_through"), data.get("counts_through")
    if data.get("stream") != str(batch.header.id) or not _whole(acked) or not _whole(counts):
        return None
    if acked < batch.through_seq:
        # The cloud has less than we sent, and says so signed: what it lacks is sent again from there.
        return settle_rewind(outbox, lane, Rewind(acked + 1, counts), now_ms)
    difference = ""
    if acked == batch.through_seq and counts != batch.counts_through:
        difference = f"the cloud has {counts} counts where the log has {batch.counts_through}"
    mark = Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position)
    rows = batch.through_seq - lane.acked_seq
    outbox.move_mark(mark, now_ms)
    if not difference and acked == batch.through_seq:
        difference = _cumulative_difference(batch, data)
    return Settled(mark, rows, difference)


def settle_rewind(outbox: Outbox, lane: Lane, outcome: Rewind, now_ms: int) -> Settled:
    """The cloud expects an earlier (or later) seq: the mark goes there.

    Where the row at the mark is still in the log, its own counts are the claim; below what is retained, the cloud's
    counts are, and the missing seqs go out as a gap.
    """
    acked = outcome.expected_seq - 1
    if acked >= lane.last_seq:
        acked = lane.last_seq
    if acked == 0:
        mark = Mark(lane.number, 0, lane.header.opening_counts, lane.first_position - 1)
    else:
        place = outbox.position_of(lane, acked)
        position, counts = place or (lane.first_position - 1, outcome.counts_through)
        mark = Mark(lane.number, acked, counts, position)
    outbox.move_mark(mark, now_ms)
    return Settled(mark, 0)


def _cumulative_difference(batch: Batch, data: Any) -> str:
    """The cloud prices the stream by itself; the two must agree to the microlitre."""
    ours_ul = batch.header.volume_ul(batch.counts_through)
    theirs_ul = data.get("cumulative_ul")
    return "" if theirs_ul == ours_ul else f"the cloud has {theirs_ul} µl of this stream where the log has {ours_ul} µl"


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
