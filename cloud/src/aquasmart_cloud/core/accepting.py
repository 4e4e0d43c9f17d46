"""Which rows of a batch are new, where they begin, and the spans of counts they cover (docs/protocol.md §4).

Pure. Rows at or below the mark are dropped by seq, a row that straddles it is clipped by counts, the rest is
taken. That is what makes every retry, replay and reordering harmless: a seq is taken once, whatever is repeated.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from .ledger import LIVE, interval_kind
from .model import DISPUTED, Batch, Scale

_PLAUSIBLE_UL_S = 1_000_000_000
"""1 m³/s: no pipe of a refill station carries it. A row above that is kept and counted, but as disputed."""
_LEAST_MS = 1_000
"""Counts of a shorter interval than this are judged as if it were so long: polls jitter."""


class Accepted(NamedTuple):
    """The new part of a batch, from row `first_row` on."""

    first_row: int
    from_counts: int
    """Own position where the new part begins, after clipping."""
    positions: list[int]
    """Own position before each row, and after the last."""
    seq_ends: list[int] | None
    """The last seq of each row; None where every row stands for one."""
    claim: int | None
    """The batch's own position at the mark, where a row boundary coincides with it or the mark lies outside a
    straddling row; None where the batch claims nothing about it."""


class Span(NamedTuple):
    """Own positions [from_counts, to_counts) covered by rows [first_row, end_row) of one interval kind."""

    kind: str
    from_counts: int
    to_counts: int
    first_row: int
    end_row: int


def accept(batch: Batch, mark_seq: int, mark_counts: int) -> Accepted:
    """The rows above the mark. The caller has refused a batch that begins above mark + 1."""
    positions = list(accumulate(batch.counts, initial=batch.counts_before))
    ends = None if batch.one_seq_a_row else _seq_ends(batch)
    if batch.through_seq <= mark_seq:
        claim = batch.counts_through if batch.through_seq == mark_seq else None
        return Accepted(batch.rows, batch.counts_through, positions, ends, claim)
    if ends is None:
        first = mark_seq + 1 - batch.first_seq
        return Accepted(first, positions[first], positions, None, positions[first])
    first = bisect_right(ends, mark_seq)
    seq_before = ends[first - 1] if first else batch.first_seq - 1
    if seq_before == mark_seq:
        return Accepted(first, positions[first], positions, ends, positions[first])
    # The row says where it begins and ends, not where its seqs lie between: the mark's counts decide.
    clipped = min(max(mark_counts, positions[first]), positions[first + 1])
    return Accepted(first, clipped, positions, ends, None if clipped == mark_counts else clipped)


def _seq_ends(batch: Batch) -> list[int]:
    widths = [1] * batch.rows
    for entry in batch.entries:
        widths[entry.row] = entry.seqs
    return list(accumulate(widths, initial=batch.first_seq - 1))[1:]


def events_in(accepted: Accepted, first_seq: int, mark_seq: int, start: int, end: int) -> int:
    """How many new seqs rows [start, end) stand for."""
    if accepted.seq_ends is None:
        return end - start
    before = accepted.seq_ends[start - 1] if start else first_seq - 1
    return max(accepted.seq_ends[end - 1], mark_seq) - max(before, mark_seq)


def implausible_rows(batch: Batch, scale: Scale, first_row: int) -> list[int]:
    """Rows whose counts no pipe could carry in their time, judged without work per row where none is near it.

    The first row of a batch is not judged: how long it took is known to the batch before.
    """
    bound = _PLAUSIBLE_UL_S * scale.den
    if max(batch.counts) * scale.ul_num * 1_000 <= bound * _LEAST_MS:
        return []
    return [
        row
        for row in range(max(first_row, 1), batch.rows)
        if batch.counts[row] * scale.ul_num * 1_000 > bound * max(batch.dt[row], _LEAST_MS)
    ]


def spans(batch: Batch, accepted: Accepted, disputed: list[int]) -> list[Span]:
    """The new rows as spans in their order: live rows together, each catch_up, gap and disputed row by itself."""
    special = {
        entry.row: interval_kind(entry.kind)
        for entry in batch.entries
        if entry.row >= accepted.first_row and interval_kind(entry.kind) != LIVE
    }
    for row in disputed:
        special.setdefault(row, DISPUTED)
    found: list[Span] = []
    place, row = accepted.from_counts, accepted.first_row
    for each in [*sorted(special), batch.rows]:
        if accepted.positions[each] > place:
            found.append(Span(LIVE, place, accepted.positions[each], row, each))
            place = accepted.positions[each]
        if each < batch.rows and accepted.positions[each + 1] > place:
            found.append(Span(special[each], place, accepted.positions[each + 1], each, each + 1))
            place = accepted.positions[each + 1]
        row = each + 1
    return found
