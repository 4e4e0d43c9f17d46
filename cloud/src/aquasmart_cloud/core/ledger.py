"""The account of one epoch: disjoint intervals of counts, each booked once, for ever (docs/protocol.md §5).

Pure functions and one small class on intervals; no database, no clock. Whatever the order in which spans
arrive, however often, and however they overlap, a position is booked by the first that covers it. A live row may
take over what a `catch_up` or `gap` had booked: the price stays, only the minute moves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from .model import DISPUTED, STAND_INS, Scale

LIVE = "live"


def interval_kind(row_kind: str) -> str:
    """How an interval remembers the kind of row that booked it: catch_up, gap, disputed; all others are live."""
    return row_kind if row_kind in STAND_INS or row_kind == DISPUTED else LIVE


class Interval(NamedTuple):
    """Counts [from_counts, to_counts) of the root epoch, and the price that first booked them.

    The station's own position is the root's less `shift_counts`; prices are by own position. `bucket_at`: the
    minute to which a kind other than live was booked, so that it can be moved.
    """

    from_counts: int
    to_counts: int
    scale: Scale
    shift_counts: int
    kind: str
    stream: str
    bucket_at: int | None

    def volume_ul(self, from_counts: int, to_counts: int) -> int:
        """Volume of a part of it, µl; telescopes, so parts always sum to the whole."""
        return self.scale.volume_ul(from_counts - self.shift_counts, to_counts - self.shift_counts)

    def continues(self, other: Interval) -> bool:
        """Whether `other`, before it, is the same booking: live, adjacent, of one stream and one price."""
        return self.kind == other.kind == LIVE and other.to_counts == self.from_counts and self[2:] == other[2:]


class Verdict(Enum):
    """What becomes of a piece of a span."""

    NEW = "new"
    TAKEN_OVER = "taken over"
    OVERLAP = "overlap"


class Piece(NamedTuple):
    """A part [from_counts, to_counts) of a span with one verdict. `former`: the interval that was there."""

    from_counts: int
    to_counts: int
    verdict: Verdict
    former: Interval | None


class Ledger:
    """The intervals of one epoch near the spans to be booked, and what booking changed.

    It must hold every interval that touches or adjoins the spans it is given; others may be left out.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._intervals = sorted(intervals)
        self._loaded = {each.from_counts: each for each in self._intervals}

    @property
    def intervals(self) -> tuple[Interval, ...]:
        return tuple(self._intervals)

    def book(self, span: Interval) -> list[Piece]:
        """Book a span and say what became of each part of it, in order.

        Only NEW parts add to the total. TAKEN_OVER parts keep their price and change kind, stream and minute.
        OVERLAP parts change nothing.
        """
        pieces = list(self._cut(span))
        for piece in pieces:
            if piece.verdict is Verdict.NEW:
                self._insert(span._replace(from_counts=piece.from_counts, to_counts=piece.to_counts))
            elif piece.verdict is Verdict.TAKEN_OVER and piece.former is not None:
                self._take_over(piece, piece.former, span)
        return pieces

    def _cut(self, span: Interval) -> Iterable[Piece]:
        place = span.from_counts
        index = max(self._after(place) - 1, 0)
        # A snapshot: booking the pieces changes the list.
        for each in self._intervals[index : self._after(span.to_counts)]:
            if each.to_counts <= place or each.from_counts >= span.to_counts:
                continue
            if each.from_counts > place:
                yield Piece(place, each.from_counts, Verdict.NEW, None)
                place = each.from_counts
            end = min(each.to_counts, span.to_counts)
            yield Piece(place, end, _verdict_over(each, span), each)
            place = end
        if place < span.to_counts:
            yield Piece(place, span.to_counts, Verdict.NEW, None)

    def _after(self, counts: int) -> int:
        """Index of the first interval that begins above `counts`."""
        return bisect_right(self._intervals, counts, key=lambda each: each.from_counts)

    def _insert(self, new: Interval) -> None:
        index = self._after(new.from_counts)
        if index and new.continues(self._intervals[index - 1]):
            before = self._intervals[index - 1]
            self._intervals[index - 1] = before._replace(to_counts=new.to_counts)
        else:
            self._intervals.insert(index, new)

    def _take_over(self, piece: Piece, former: Interval, span: Interval) -> None:
        index = self._after(piece.from_counts) - 1
        current = self._intervals.pop(index)
        if current.from_counts < piece.from_counts:
            self._intervals.insert(index, current._replace(to_counts=piece.from_counts))
            index += 1
        if piece.to_counts < current.to_counts:
            self._intervals.insert(index, current._replace(from_counts=piece.to_counts))
        self._insert(
            former._replace(
                from_counts=piece.from_counts,
                to_counts=piece.to_counts,
                kind=span.kind,
                stream=span.stream,
                bucket_at=span.bucket_at,
            )
        )

    def changes(self) -> tuple[list[int], list[Interval]]:
        """What a store must do: delete the intervals that begin at these counts, then insert these intervals."""
        now = {each.from_counts: each for each in self._intervals}
        stale = [counts for counts, each in self._loaded.items() if now.get(counts) != each]
        fresh = [each for counts, each in now.items() if self._loaded.get(counts) != each]
        return stale, fresh


def _verdict_over(former: Interval, span: Interval) -> Verdict:
    if former.kind in STAND_INS and span.kind not in STAND_INS:
        return Verdict.TAKEN_OVER
    return Verdict.OVERLAP


def holes(extent: tuple[int, int], covered: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of an extent that nothing covers. `covered`: disjoint, in order."""
    place, end = extent
    found = []
    for from_counts, to_counts in covered:
        if from_counts > place:
            found.append((place, min(from_counts, end)))
        place = max(place, to_counts)
        if place >= end:
            break
    if place < end:
        found.append((place, end))
    return [(low, high) for low, high in found if low < high]


def without(hole: tuple[int, int], from_counts: int, to_counts: int) -> list[tuple[int, int]]:
    """What remains of a hole when [from_counts, to_counts) is filled: none, one or two parts."""
    low, high = hole
    rest = [(low, min(high, from_counts)), (max(low, to_counts), high)]
    return [(start, end) for start, end in rest if start < end]


def newly_uncovered(extent: tuple[int, int], from_counts: int) -> tuple[int, int] | None:
    """The hole that opens when an extent reaches out to a position outside it, or None."""
    low, high = extent
    if from_counts > high:
        return high, from_counts
    return (from_counts, low) if from_counts < low else None
