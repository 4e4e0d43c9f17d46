"""Which rows are new, and the spans they cover."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.accepting import Span, accept, events_in, implausible_rows, spans
from aquasmart_cloud.core.ledger import LIVE
from aquasmart_cloud.core.model import Scale
from tests.unit.cloud.batches import make

BASE = 1_000_000
PRICE = Scale(20_000, 9)


def test_a_batch_that_follows_the_mark_is_taken_whole() -> None:
    accepted = accept(make([1, 2, 3]), 0, BASE)
    assert (accepted.first_row, accepted.from_counts, accepted.claim) == (0, BASE, BASE)


def test_rows_below_the_mark_are_dropped() -> None:
    accepted = accept(make([1, 2, 3]), 2, BASE + 3)
    assert (accepted.first_row, accepted.from_counts, accepted.claim) == (2, BASE + 3, BASE + 3)


def test_a_batch_known_whole_claims_only_where_it_ends_at_the_mark() -> None:
    assert accept(make([1, 2, 3]), 3, BASE + 6) == (3, BASE + 6, [BASE, BASE + 1, BASE + 3, BASE + 6], None, BASE + 6)
    assert accept(make([1, 2, 3]), 9, BASE + 60).claim is None


def test_a_straddling_row_is_clipped_by_counts() -> None:
    batch = make([9, 1], rows=[{"row": 0, "kind": "merged", "seqs": 4}])
    accepted = accept(batch, 2, BASE + 5)
    assert (accepted.first_row, accepted.from_counts, accepted.claim) == (0, BASE + 5, None)
    assert spans(batch, accepted, []) == [Span(LIVE, BASE + 5, BASE + 10, 0, 2)]


def test_a_straddling_row_that_cannot_hold_the_mark_claims_its_nearest_end() -> None:
    batch = make([9, 1], rows=[{"row": 0, "kind": "merged", "seqs": 4}])
    assert accept(batch, 2, BASE + 50).claim == BASE + 9
    assert accept(batch, 2, BASE - 50).claim == BASE


def test_the_mark_at_the_end_of_a_row_of_several_seqs_is_a_boundary() -> None:
    batch = make([9, 1], rows=[{"row": 0, "kind": "gap", "seqs": 4}])
    accepted = accept(batch, 4, BASE + 9)
    assert (accepted.first_row, accepted.from_counts, accepted.claim) == (1, BASE + 9, BASE + 9)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 40))
def test_events_sum_to_what_the_mark_moves(widths: list[int], mark: int) -> None:
    rows = [{"row": row, "kind": "merged", "seqs": width} for row, width in enumerate(widths)]
    batch = make([1] * len(widths), rows=rows)
    accepted = accept(batch, mark, BASE)
    moved = max(batch.through_seq - mark, 0)
    events = sum(
        events_in(accepted, batch.first_seq, mark, row, row + 1) for row in range(accepted.first_row, batch.rows)
    )
    assert events == moved


def test_rows_without_a_time_stand_alone() -> None:
    rows = [{"row": 0, "kind": "catch_up"}, {"row": 2, "kind": "gap", "seqs": 2}, {"row": 3, "kind": "pour"}]
    batch = make([5, 1, 4, 0, 2], rows=rows)
    assert spans(batch, accept(batch, 0, BASE), []) == [
        Span("catch_up", BASE, BASE + 5, 0, 1),
        Span(LIVE, BASE + 5, BASE + 6, 1, 2),
        Span("gap", BASE + 6, BASE + 10, 2, 3),
        Span(LIVE, BASE + 10, BASE + 12, 3, 5),
    ]


def test_rows_without_counts_cover_nothing() -> None:
    batch = make([0, 0], rows=[{"row": 0, "kind": "catch_up"}])
    assert spans(batch, accept(batch, 0, BASE), []) == []


def test_what_no_pipe_carries_is_disputed_but_not_in_a_batches_first_row() -> None:
    million = 1_000_000
    batch = make([million, 10, million])
    assert implausible_rows(batch, PRICE, 0) == [2]
    assert implausible_rows(batch, PRICE, 3) == []
    assert spans(batch, accept(batch, 0, BASE), [2])[-1].kind == "disputed"
    assert implausible_rows(make([10, 10]), PRICE, 0) == []


def test_a_long_interval_may_carry_much() -> None:
    assert implausible_rows(make([0, 1_000_000], dt=[0, 3_600_000]), PRICE, 0) == []
