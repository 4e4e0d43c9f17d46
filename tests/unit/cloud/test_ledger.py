"""The ledger against an oracle that keeps every position in a dictionary: booked once, whatever the order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aquasmart_cloud.core.ledger import (
    LIVE,
    Interval,
    Ledger,
    Verdict,
    holes,
    interval_kind,
    newly_uncovered,
    without,
)
from aquasmart_cloud.core.model import Scale

SCALES = (Scale(20_000, 9), Scale(2_500, 1), Scale(1, 3))
TOP = 60


@st.composite
def spans(draw: st.DrawFn) -> Interval:
    low = draw(st.integers(0, TOP - 1))
    kind = draw(st.sampled_from([LIVE, LIVE, "catch_up", "gap", "disputed"]))
    stream = draw(st.sampled_from("abc"))
    bucket = None if kind == LIVE else draw(st.integers(0, 3)) * 60_000
    return Interval(low, draw(st.integers(low + 1, TOP)), SCALES["abc".index(stream)], 0, kind, stream, bucket)


class Positions:
    """The oracle: each position's price, kind and stream in a dictionary."""

    def __init__(self) -> None:
        self.booked: dict[int, tuple[Scale, str, str]] = {}
        self.overlap_ul = 0

    def book(self, span: Interval) -> None:
        for position in range(span.from_counts, span.to_counts):
            found = self.booked.get(position)
            if found is None:
                self.booked[position] = (span.scale, span.kind, span.stream)
            elif found[1] in {"catch_up", "gap"} and span.kind not in {"catch_up", "gap"}:
                self.booked[position] = (found[0], span.kind, span.stream)
            else:
                self.overlap_ul += found[0].volume_ul(position, position + 1)

    def volume_ul(self) -> int:
        return sum(scale.volume_ul(position, position + 1) for position, (scale, _, _) in self.booked.items())


@given(st.lists(st.one_of(spans(), spans().flatmap(st.just)), max_size=12), st.randoms())
@settings(max_examples=400)
def test_every_position_is_booked_once_in_any_order_however_often(sent: list[Interval], chance: object) -> None:
    chance.shuffle(repeated := sent + sent[: len(sent) // 2])  # type: ignore[attr-defined]
    ledger, oracle = Ledger([]), Positions()
    new_ul = overlap_ul = 0
    for span in repeated:
        pieces = ledger.book(span)
        assert [piece.from_counts for piece in pieces] == sorted(piece.from_counts for piece in pieces)
        assert sum(piece.to_counts - piece.from_counts for piece in pieces) == span.to_counts - span.from_counts
        for piece in pieces:
            volume_ul = (piece.former or span).volume_ul(piece.from_counts, piece.to_counts)
            new_ul += volume_ul if piece.verdict is Verdict.NEW else 0
            overlap_ul += volume_ul if piece.verdict is Verdict.OVERLAP else 0
        oracle.book(span)
    booked = {
        position: (each.scale, each.kind, each.stream)
        for each in ledger.intervals
        for position in range(each.from_counts, each.to_counts)
    }
    assert booked == oracle.booked
    assert sum(each.to_counts - each.from_counts for each in ledger.intervals) == len(oracle.booked)
    measure_ul = sum(each.volume_ul(each.from_counts, each.to_counts) for each in ledger.intervals)
    assert measure_ul == new_ul == oracle.volume_ul()
    assert overlap_ul == oracle.overlap_ul


@given(st.lists(spans(), max_size=8))
def test_holes_and_covered_make_the_extent(sent: list[Interval]) -> None:
    ledger = Ledger([])
    for span in sent:
        ledger.book(span)
    covered = [(each.from_counts, each.to_counts) for each in ledger.intervals]
    missing = holes((0, TOP), covered)
    tiles = sorted(missing + covered)
    assert tiles == sorted(set(tiles))
    assert sum(high - low for low, high in tiles) == TOP
    assert all(before[1] == after[0] for before, after in pairwise(tiles))


@given(st.lists(spans(), max_size=8), spans())
def test_the_changes_turn_what_was_loaded_into_what_is(sent: list[Interval], last: Interval) -> None:
    before = Ledger([])
    for span in sent:
        before.book(span)
    table = {each.from_counts: each for each in before.intervals}
    ledger = Ledger(before.intervals)
    ledger.book(last)
    stale, fresh = ledger.changes()
    for counts in stale:
        del table[counts]
    for each in fresh:
        assert each.from_counts not in table
        table[each.from_counts] = each
    assert tuple(table[counts] for counts in sorted(table)) == ledger.intervals


def test_a_live_span_of_the_same_stream_extends_its_interval() -> None:
    ledger = Ledger([Interval(0, 5, SCALES[0], 0, LIVE, "a", None)])
    ledger.book(Interval(5, 9, SCALES[0], 0, LIVE, "a", None))
    assert [each[:2] for each in ledger.intervals] == [(0, 9)]


def test_another_scale_shift_or_stream_does_not() -> None:
    first = Interval(0, 5, SCALES[0], 0, LIVE, "a", None)
    for change in ({"scale": SCALES[1]}, {"stream": "b"}, {"shift_counts": 3}):
        ledger = Ledger([first])
        ledger.book(first._replace(from_counts=5, to_counts=9, **change))
        assert len(ledger.intervals) == 2


def test_taking_over_keeps_the_price_and_moves_the_rest() -> None:
    ledger = Ledger([Interval(0, 10, SCALES[0], 0, "catch_up", "a", 60_000)])
    [piece] = ledger.book(Interval(4, 6, SCALES[1], 0, LIVE, "b", None))
    assert piece.verdict is Verdict.TAKEN_OVER
    assert ledger.intervals == (
        Interval(0, 4, SCALES[0], 0, "catch_up", "a", 60_000),
        Interval(4, 6, SCALES[0], 0, LIVE, "b", None),
        Interval(6, 10, SCALES[0], 0, "catch_up", "a", 60_000),
    )


def test_a_stand_in_never_takes_over() -> None:
    for former in ("catch_up", "gap", LIVE):
        ledger = Ledger([Interval(0, 10, SCALES[0], 0, former, "a", 0)])
        [piece] = ledger.book(Interval(0, 10, SCALES[0], 0, "gap", "b", 0))
        assert piece.verdict is Verdict.OVERLAP


def test_prices_are_by_the_stations_own_position() -> None:
    interval = Interval(1_100, 1_103, Scale(20_000, 9), 100, LIVE, "a", None)
    assert interval.volume_ul(1_100, 1_103) == Scale(20_000, 9).volume_ul(1_000, 1_003)


def test_kinds() -> None:
    assert [interval_kind(kind) for kind in ("volume", "merged", "leak", "gap", "catch_up", "disputed")] == [
        LIVE,
        LIVE,
        LIVE,
        "gap",
        "catch_up",
        "disputed",
    ]


def test_without() -> None:
    assert without((0, 10), 3, 5) == [(0, 3), (5, 10)]
    assert without((0, 10), 0, 5) == [(5, 10)]
    assert without((0, 10), 5, 12) == [(0, 5)]
    assert without((0, 10), 0, 10) == []
    assert without((0, 10), 20, 30) == [(0, 10)]


def test_newly_uncovered() -> None:
    assert newly_uncovered((5, 10), 12) == (10, 12)
    assert newly_uncovered((5, 10), 3) == (3, 5)
    assert newly_uncovered((5, 10), 10) is None
    assert newly_uncovered((5, 10), 5) is None
