"""The search for a poison row: one row at most is condemned for each, and none where the cloud refuses everything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.bisecting import (
    HOUR_MS,
    MOST_AN_HOUR,
    Blocked,
    Portion,
    Suspicion,
    Verdict,
    after_delivery,
    after_refusal,
    may_condemn,
)
from aquasmart_station.core.outcome import Refused

INVALID = Verdict(Refused("invalid", "no", ("$.rows[0].data",)), "f" * 32)


class Stream:
    """Rows sent in order to a cloud that judges each batch; what sync does of it, without the network."""

    def __init__(self, rows: int, accepts: Callable[[set[int], bool], bool]) -> None:
        self.rows, self.accepts = rows, accepts
        self.delivered, self.requests = 0, 0
        self.dead: list[int] = []
        self.blocked: Blocked | None = None

    def run(self, size: int, *, ceiling: int = MOST_AN_HOUR) -> None:
        suspicion: Suspicion | None = None
        while self.delivered < self.rows and self.blocked is None:
            portion = suspicion.portion if suspicion else Portion(size)
            rows = set(range(self.delivered, min(self.rows, self.delivered + portion.rows)))
            self.requests += 1
            sent = Portion(len(rows), portion.as_gap)
            if self.accepts(rows, portion.as_gap):
                if portion.as_gap:
                    self.dead.append(self.delivered)
                    suspicion = None
                else:
                    suspicion = after_delivery(suspicion, len(rows)) if suspicion else None
                self.delivered += len(rows)
                continue
            after = after_refusal(sent, INVALID, may_condemn=len(self.dead) < ceiling)
            if isinstance(after, Blocked):
                self.blocked = after
            else:
                suspicion = after


def refusing(*poison: int) -> Callable[[set[int], bool], bool]:
    return lambda rows, as_gap: as_gap or not rows & set(poison)


@pytest.mark.parametrize("poison", [(0,), (9_999,), (5_000,), (5_000, 5_001), (0, 1, 2), (1, 3, 5, 9_998)])
def test_one_poison_row_in_ten_thousand(poison: tuple[int, ...]) -> None:
    stream = Stream(10_000, refusing(*poison))
    stream.run(500)
    assert stream.dead == list(poison)
    assert stream.delivered == 10_000
    # 20 batches, and for each poison row its halvings, itself, its gap.
    assert stream.requests <= 20 + len(poison) * 30


@given(st.sets(st.integers(0, 299), max_size=9), st.integers(1, 64))
def test_exactly_the_poison_rows_are_condemned_whatever_the_size(poison: set[int], size: int) -> None:
    stream = Stream(300, refusing(*poison))
    stream.run(size)
    assert stream.dead == sorted(poison)
    assert stream.delivered == 300


def test_a_cloud_that_refuses_everything_condemns_nothing() -> None:
    stream = Stream(10_000, lambda _rows, _as_gap: False)
    stream.run(500)
    assert (stream.delivered, stream.dead) == (0, [])
    assert stream.blocked is not None
    assert stream.requests <= 12


def test_a_cloud_that_takes_gaps_only_empties_no_log() -> None:
    stream = Stream(10_000, lambda _rows, as_gap: as_gap)
    stream.run(500)
    assert len(stream.dead) == MOST_AN_HOUR
    assert stream.blocked is not None
    assert "within the hour" in stream.blocked.reason


def test_a_cloud_that_was_mended_during_the_search_condemns_nothing() -> None:
    calls = iter([False, False, False])
    stream = Stream(1_000, lambda _rows, _as_gap: next(calls, True))
    stream.run(200)
    assert (stream.delivered, stream.dead) == (1_000, [])


@pytest.mark.parametrize("place", ["$.stream", "$.stream.scale", "$.stream.scale.den"])
def test_a_header_at_fault_blocks_at_once(place: str) -> None:
    after = after_refusal(Portion(500), Verdict(Refused("invalid", "", (place,)), ""), may_condemn=True)
    assert after == Blocked("it refuses the stream's header")


def test_what_only_begins_like_the_header_s_place_is_a_row() -> None:
    verdict = Verdict(Refused("invalid", "", ("$.streams",)), "")
    assert after_refusal(Portion(2), verdict, may_condemn=True) == Suspicion(2)


def test_a_single_row_is_offered_as_its_gap_with_the_verdict_against_it() -> None:
    after = after_refusal(Portion(1), INVALID, may_condemn=True)
    assert after == Suspicion(1, INVALID)
    assert after.portion == Portion(1, as_gap=True)


def test_a_gap_that_is_refused_is_never_condemned() -> None:
    assert isinstance(after_refusal(Portion(1, as_gap=True), INVALID, may_condemn=True), Blocked)


def test_the_ceiling_is_counted_within_the_hour() -> None:
    now = 10 * HOUR_MS
    assert may_condemn([now - 1] * (MOST_AN_HOUR - 1), now)
    assert not may_condemn([now - 1] * MOST_AN_HOUR, now)
    assert may_condemn([now - HOUR_MS] * 50, now)
    # A clock that was set back counts what seems to lie ahead, too.
    assert not may_condemn([now + 1] * MOST_AN_HOUR, now)
