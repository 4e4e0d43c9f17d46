"""What a verified outcome does to the marks: the only place that decides where a high-water mark goes.

No I/O of its own beyond the outbox it is given. A mark moves for an acknowledgement and a `Rewind` only, both signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from ..adapters.log_lanes import Lane
from ..adapters.log_outbox import Mark, Outbox
from ..core.encoding import Batch
from ..core.outcome import Delivered, Rewind
from ..core.phrases import Phrase


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What an acknowledgement comes to: where the mark goes, how many events that is, and a difference in the books."""

    mark: Mark
    rows: int
    difference: str = ""


def read_acknowledgement(lane: Lane, batch: Batch, outcome: Delivered) -> Acknowledged | Rewind | None:
    """What a signed 200 says of `batch`. None where its figures make no sense: then nothing moves, and it goes again.

    `acked_through` above what was sent is legitimate (a rolled-back card, an import) and capped at the last seq sent:
    rows beyond that have not been compared. Counts are compared only when it names exactly the last seq sent. Where it
    is below, the cloud has less than we sent and says so signed: what it lacks is sent again from there.
    """
    data = outcome.data
    acked, counts = data.get("acked_through"), data.get("counts_through")
    if data.get("stream") != str(batch.header.id) or not _whole(acked) or not _whole(counts):
        return None
    if acked < batch.through_seq:
        return Rewind(acked + 1, counts)
    mark = Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position)
    difference = "" if acked > batch.through_seq else _difference(batch, counts, data.get("cumulative_ul"))
    return Acknowledged(mark, batch.through_seq - lane.acked_seq, difference)


def settle_delivered(outbox: Outbox, lane: Lane, batch: Batch, outcome: Delivered, now_ms: int) -> bool:
    """Record an acknowledgement where nothing else is to be recorded with it. False where it made no sense."""
    said = read_acknowledgement(lane, batch, outcome)
    if isinstance(said, Rewind):
        settle_rewind(outbox, lane, said, now_ms)
    elif said is not None:
        outbox.move_mark(said.mark, now_ms)
    return said is not None


def settle_rewind(outbox: Outbox, lane: Lane, outcome: Rewind, now_ms: int) -> None:
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


def _difference(batch: Batch, counts: int, cumulative_ul: object) -> str:
    """The cloud counts and prices the stream by itself; the two must agree to the microlitre."""
    if counts != batch.counts_through:
        here = batch.counts_through
        return Phrase("the cloud has {counts} counts where the log has {here}", counts=counts, here=here)
    ours_ul = batch.header.volume_ul(batch.counts_through)
    if cumulative_ul != ours_ul:
        values = {"there": cumulative_ul, "here": ours_ul}
        return Phrase("the cloud has {there} µl of this stream where the log has {here} µl", **values)
    return ""


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
