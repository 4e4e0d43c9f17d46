"""Whether rows that come again say what they said (docs/protocol.md §4). Pure.

Only rows whose boundaries coincide are compared: a merged row says less than those it merged, and is no
contradiction. Times are not compared: they are corrected at encoding.
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import NamedTuple

from .model import VOLUME, Batch, Entry


class RowContent(NamedTuple):
    """What a row says apart from its time; `seq_before`: the last seq before it."""

    seq_before: int
    counts: int
    kind: str
    data: str | None


class Difference(NamedTuple):
    """How repeated rows differ: the first one's seq, how many, by how many counts, and in what."""

    seq: int
    rows: int
    counts: int
    what: tuple[str, ...]


def contents(batch: Batch) -> dict[int, RowContent]:
    """Rows of a batch by their seq (the last one they stand for)."""
    listed: dict[int, Entry | None] = {entry.row: entry for entry in batch.entries}
    widths = [1] * batch.rows
    for entry in batch.entries:
        widths[entry.row] = entry.seqs
    ends = list(accumulate(widths, initial=batch.first_seq - 1))
    found = {}
    for row, counts in enumerate(batch.counts):
        special = listed.get(row)
        kind, data = (VOLUME, None) if special is None else (special.kind, special.data)
        found[ends[row + 1]] = RowContent(ends[row], counts, kind, data)
    return found


def compare(stored: Batch, repeated: Batch, from_seq: int, through_seq: int) -> Difference | None:
    """How rows of `repeated` differ from those of `stored`, of seqs from_seq to through_seq; None: not at all."""
    before, again = contents(stored), contents(repeated)
    differing = []
    for seq in sorted(before.keys() & again.keys()):
        one, other = before[seq], again[seq]
        if from_seq <= seq <= through_seq and one.seq_before == other.seq_before:
            what = _what_differs(one, other)
            if what:
                differing.append((seq, abs(other.counts - one.counts), what))
    if not differing:
        return None
    names = sorted({name for _, _, what in differing for name in what})
    return Difference(differing[0][0], len(differing), sum(counts for _, counts, _ in differing), tuple(names))


def _what_differs(one: RowContent, other: RowContent) -> list[str]:
    what = []
    if one.counts != other.counts:
        what.append("counts")
    if one.kind != other.kind:
        what.append("kind")
    if one.data != other.data and _value(one.data) != _value(other.data):
        what.append("data")
    return what


def _value(data: str | None) -> object:
    return None if data is None else json.loads(data)
