"""A span of time in pieces of stored grains: everything once, nothing besides, and few pieces however long it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.aggregations import Question
from aquasmart_cloud.store.foreign_queries import Wanted
from aquasmart_cloud.store.schema import GRAIN_WIDTHS_MS

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
minutes = st.integers(0, 3 * 525_600)


def parts_of(from_ms: int, to_ms: int, *by: str) -> list[tuple[str, int, int]]:
    return [tuple(part) for part in Question(Wanted(from_ms=from_ms, to_ms=to_ms), by).parts]


@given(minutes, minutes, st.sampled_from([(), ("minute",), ("hour",), ("day",), ("month",), ("station", "hour")]))
def test_pieces_follow_each_other_and_fit_their_grain(first: int, last: int, by: tuple[str, ...]) -> None:
    from_ms, to_ms = first * MINUTE_MS, last * MINUTE_MS
    found = parts_of(from_ms, to_ms, *by)
    at = from_ms
    for grain, begins, ends in found:
        assert begins == at
        assert begins < ends
        assert begins % GRAIN_WIDTHS_MS[grain] == ends % GRAIN_WIDTHS_MS[grain] == 0
        at = ends
    assert at == max(from_ms, to_ms) if found else from_ms >= to_ms
    buckets = sum((ends - begins) // GRAIN_WIDTHS_MS[grain] for grain, begins, ends in found)
    if not set(by) & {"minute", "hour"}:
        assert buckets <= 2 * (59 + 23) + max(0, to_ms - from_ms) // DAY_MS + 1
    if "hour" in by:
        assert {grain for grain, _, _ in found} <= {"hour", "minute"}


def test_a_month_up_to_this_minute_is_days_hours_and_minutes() -> None:
    to_ms = 20_000 * DAY_MS + 5 * HOUR_MS + 7 * MINUTE_MS
    assert parts_of(to_ms - 30 * DAY_MS, to_ms) == [
        ("minute", to_ms - 30 * DAY_MS, 19_970 * DAY_MS + 6 * HOUR_MS),
        ("hour", 19_970 * DAY_MS + 6 * HOUR_MS, 19_971 * DAY_MS),
        ("day", 19_971 * DAY_MS, 20_000 * DAY_MS),
        ("hour", 20_000 * DAY_MS, 20_000 * DAY_MS + 5 * HOUR_MS),
        ("minute", 20_000 * DAY_MS + 5 * HOUR_MS, to_ms),
    ]


def test_without_edges_it_is_one_piece() -> None:
    [(grain, from_ms, to_ms)] = [tuple(part) for part in Question(Wanted(), ()).parts]
    assert (grain, from_ms) == ("day", 0)
    assert to_ms > 1 << 60


@pytest.mark.parametrize("edges", [(1, DAY_MS), (0, DAY_MS + 30_000)])
def test_parts_of_minutes_are_refused(edges: tuple[int, int]) -> None:
    with pytest.raises(Refusal):
        parts_of(*edges)
