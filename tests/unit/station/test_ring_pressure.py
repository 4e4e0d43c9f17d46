"""The ring near its capacity: merged in steps, always bounded; nothing dropped, nothing moved that may be logged."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.degraded import DISK_FULL, RING_NEAR_CAPACITY, WORDS, Reasons, words
from aquasmart_station.core.merging import STEPS_MS
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from aquasmart_station.core.ring import DEFAULT_CAPACITY, Ring

AT_MS = 1_763_676_000_000
TAP = StreamHeader(
    UUID(int=1), "tap-1", None, False, UUID(int=2), 0, None, 0, Scale(1, 1), 0, "b", None, "h", "s", "ntp"
)


def reading(number: int, every_ms: int = 100) -> Draft:
    return Draft(TAP, Kind.VOLUME, AT_MS + number * every_ms, number * every_ms, number)


def fill(ring: Ring, readings: int, every_ms: int = 100, start: int = 1) -> None:
    for number in range(start, start + readings):
        ring.put([reading(number, every_ms)])


def test_the_default_holds_ten_minutes_at_ten_readings_a_second() -> None:
    ring = Ring()
    fill(ring, int(0.79 * DEFAULT_CAPACITY))
    assert (ring.step_ms, ring.near) == (0, False)
    assert DEFAULT_CAPACITY == 10 * 60 * 10


def test_a_full_half_asks_for_a_commit_before_anything_is_merged() -> None:
    ring = Ring(100)
    fill(ring, 49)
    assert not ring.urgent
    fill(ring, 1, start=50)
    assert (ring.urgent, ring.step_ms) == (True, 0)


@pytest.mark.parametrize("step_ms", STEPS_MS)
def test_each_step_is_reached_when_the_ones_before_do_not_help(step_ms: int) -> None:
    """Readings half a step apart: a finer resolution joins none of them."""
    ring = Ring(100)
    every_ms = step_ms // 4
    fill(ring, 80, every_ms)
    assert ring.step_ms == step_ms
    assert len(ring) <= 50
    assert ring.near
    drafts = ring.take()
    assert (drafts[-1].counts, sum(draft.seqs for draft in drafts)) == (80, 80)


def test_a_day_of_a_stalled_disk_fits_into_ten_minutes_of_memory_and_every_count_is_there() -> None:
    ring, reached = Ring(600), []
    for number in range(1, 864_001):
        ring.put([reading(number)])
        assert len(ring) <= 600
        if ring.step_ms not in reached:
            reached.append(ring.step_ms)
    assert reached == [0, *STEPS_MS]
    drafts = ring.take()
    assert drafts[-1].counts == 864_000
    assert sum(draft.seqs for draft in drafts) == 864_000


def test_after_a_commit_merging_begins_anew() -> None:
    ring = Ring(100)
    fill(ring, 80, 2_500)
    assert ring.step_ms == 10_000
    ring.take()
    assert ring.near
    ring.committed()
    assert (ring.step_ms, ring.near) == (0, False)


def test_what_cannot_be_merged_fills_it_and_then_there_is_no_room() -> None:
    ring = Ring(100)
    for number in range(1, 101):
        ring.put([replace(reading(number), kind=Kind.DISPUTED)])
    assert not ring.room
    assert [draft.counts for draft in ring.take()] == list(range(1, 101))


def test_drafts_that_may_be_in_the_log_come_again_unchanged() -> None:
    ring = Ring(100)
    fill(ring, 60)
    doubtful = ring.take()
    fill(ring, 39, start=61)
    ring.give_back(doubtful, as_they_are=True)
    assert ring.step_ms > 0
    assert ring.take()[:60] == doubtful


def test_drafts_that_are_known_not_to_be_in_the_log_may_be_merged() -> None:
    ring = Ring(100)
    fill(ring, 60)
    taken = ring.take()
    fill(ring, 39, start=61)
    ring.give_back(taken)
    assert len(ring) < 20
    assert sum(draft.seqs for draft in ring.take()) == 99


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "put", "fail", "doubt", "commit"]), st.integers(1, 12)), max_size=80
    )
)
def test_bounded_in_order_and_complete_whatever_happens(steps: list[tuple[str, int]]) -> None:
    ring, number, logged, doubtful = Ring(20), 0, [], []
    for what, many in steps:
        if what == "put":
            for _ in range(many):
                if ring.room:
                    number += 1
                    ring.put([reading(number, 300)])
            continue
        drafts = ring.take()
        assert drafts[: len(doubtful)] == doubtful
        doubtful = []
        if what == "commit":
            logged += drafts
            ring.committed()
        else:
            doubtful = drafts if what == "doubt" else []
            ring.give_back(drafts, as_they_are=what == "doubt")
    logged += ring.take()
    positions = [0, *(draft.counts for draft in logged)]
    assert positions == sorted(positions)
    assert [after - before for before, after in pairwise(positions)] == [draft.seqs for draft in logged]
    assert positions[-1] == number


def test_reasons_change_when_they_are_set_and_cleared_and_only_then() -> None:
    reasons = Reasons()
    assert (reasons.changed, reasons.active) == (False, frozenset())
    reasons.set(DISK_FULL)
    reasons.set(DISK_FULL)
    assert reasons.changed
    assert reasons.note() == [DISK_FULL]
    assert not reasons.changed
    reasons.put(RING_NEAR_CAPACITY, on=True)
    reasons.put(DISK_FULL, on=False)
    assert reasons.note() == [RING_NEAR_CAPACITY]
    reasons.clear(RING_NEAR_CAPACITY)
    reasons.clear(RING_NEAR_CAPACITY)
    assert (reasons.note(), reasons.changed) == ([], False)


def test_every_reason_has_words_and_a_meters_reason_names_the_meter() -> None:
    assert words(DISK_FULL) == WORDS[DISK_FULL]
    assert words("sensor-stuck:tap-2").startswith("tap-2: ")
    assert words("something-new") == "something-new"
