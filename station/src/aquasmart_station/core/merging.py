"""Merging neighbours: fewer rows, the same counts (docs/decisions/0011-merging.md). Pure.

Only adjacent plain rows of one stream merge: `volume` or `merged`, without data, their seqs contiguous, their wall
times in one slot of the resolution. Every resolution divides the hour, so no merged row crosses a UTC hour; a row of
another kind, such as a pour's end, stands between two runs that never merge. A merged row has the last row's seq,
time and counts, all flags of its rows, and stands for the sum of their seqs: what it covers is what they covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from .model import Draft, Flag, Kind, Row

STEPS_MS = (1_000, 10_000, 60_000, 3_600_000)
"""The resolutions, from the finest: 1 s, 10 s, 60 s, 1 h."""

_PLAIN = frozenset({Kind.VOLUME.value, Kind.MERGED.value})


def merged_drafts(drafts: Iterable[Draft], step_ms: int) -> list[Draft]:
    """Drafts of any streams, in their order, with plain neighbours of each stream in one slot merged.

    Rows of other streams may stand between: a stream's rows are neighbours by their order in it. A merged draft
    takes the place of its last.
    """
    kept: list[Draft | None] = []
    last: dict[UUID, int] = {}
    for draft in drafts:
        place = last.get(draft.stream.id)
        before = None if place is None else kept[place]
        last[draft.stream.id] = len(kept)
        if place is None or before is None or not _join(before, draft, step_ms):
            kept.append(draft)
            continue
        kept[place] = None
        merged = replace(
            draft,
            kind=Kind.MERGED,
            flags=Flag(before.flags | draft.flags),
            urgent=before.urgent or draft.urgent,
            seqs=before.seqs + draft.seqs,
        )
        kept.append(merged)
    return [draft for draft in kept if draft is not None]


def _join(before: Draft | Row, after: Draft | Row, step_ms: int) -> bool:
    return (
        before.kind in _PLAIN
        and after.kind in _PLAIN
        and before.data is None
        and after.data is None
        and before.at_ms // step_ms == after.at_ms // step_ms
    )


def clipped(row: Row, after_seq: int) -> Row:
    """The part of a merged row above `after_seq`, which lies inside it; the counts before it are the mark's.

    The part that is left of one row is that row again, a plain one: a row that comes twice must say the same twice.
    """
    seqs = row.seq - after_seq
    return row._replace(seqs=seqs, kind=Kind.VOLUME.value if seqs == 1 else row.kind)


@dataclass(frozen=True, slots=True)
class Found:
    """A row of the log as a thinning pass meets it, in order of position."""

    stream_no: int
    row: Row
    sound: bool
    """Whether its checksum holds."""
    fixed: bool
    """It may not be touched: acknowledged (it will be pruned), or the last row of its meter."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """A stream in a pass: the row that the next may join, and the last seq of the row before the next."""

    open: Row | None = None
    through: int | None = 0
    """None: the row before is damaged, its seq is not known."""


@dataclass(slots=True)
class Thinning:
    """What one piece of a pass changes: rows to write in place of those at their position, positions to remove."""

    written: dict[int, tuple[int, Row]] = field(default_factory=dict)
    """By position: number of the stream, merged row."""
    removed: list[int] = field(default_factory=list)


class ThinningPass:
    """One pass over the log at one resolution, from its first row on, in pieces of any size.

    The row after a missing or damaged one is left as it is: a gap runs to its counts, and those must be the same on
    every retry (docs/decisions/0011-merging.md).
    """

    def __init__(self, step_ms: int) -> None:
        self.step_ms = step_ms
        self._streams: dict[int, _Standing] = {}

    def plan(self, piece: Sequence[Found]) -> tuple[Thinning, dict[int, _Standing]]:
        """What to change for this piece, and what to `adopt` once that is committed."""
        changes, streams = Thinning(), dict(self._streams)
        for found in piece:
            streams[found.stream_no] = self._meet(streams.get(found.stream_no, _Standing()), found, changes)
        return changes, streams

    def adopt(self, streams: dict[int, _Standing]) -> None:
        self._streams = streams

    def forget(self, positions: Iterable[int]) -> None:
        """Rows at these positions have been pruned meanwhile: what comes after them follows a missing row."""
        gone = set(positions)
        for number, standing in self._streams.items():
            if standing.open is not None and standing.open.position in gone:
                self._streams[number] = _Standing(None, None)

    def _meet(self, before: _Standing, found: Found, changes: Thinning) -> _Standing:
        row = found.row
        if not found.sound:
            return _Standing(None, None)
        contiguous = before.through is not None and row.seq - row.seqs == before.through
        if found.fixed or not contiguous:
            return _Standing(None, row.seq)
        if before.open is None or not _join(before.open, row, self.step_ms):
            return _Standing(row, row.seq)
        merged = row._replace(
            seqs=before.open.seqs + row.seqs, kind=Kind.MERGED.value, flags=before.open.flags | row.flags
        )
        changes.written.pop(before.open.position, None)
        changes.removed.append(before.open.position)
        changes.written[row.position] = (found.stream_no, merged)
        return _Standing(merged, row.seq)
