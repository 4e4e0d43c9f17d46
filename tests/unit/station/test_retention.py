"""Bounds of the disk: budget, pressure with hysteresis, what may go, and for how long the room will do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.model import Row
from aquasmart_station.core.retention import (
    DAY_MS,
    STRETCH_MOST,
    DiskUse,
    Limits,
    autonomy_hours,
    budget_bytes,
    commit_stretch,
    cutoff_ms,
    may_prune,
    over_budget,
    record_bytes,
    short_of_room,
    urgent_rows_wait,
)

MIB = 1 << 20
GIB = 1 << 30
LIMITS = Limits(budget_bytes=100 * MIB, retention_ms=30 * DAY_MS, wal_limit_bytes=4 * MIB)
NOW_MS = 1_763_676_000_000


def use(page_mib: int = 0, spare_bytes: int = 0, wal_bytes: int = MIB, free_bytes: int = GIB) -> DiskUse:
    return DiskUse(page_mib * MIB, spare_bytes, wal_bytes, free_bytes)


@pytest.mark.parametrize(
    ("configured", "partition", "budget"),
    [
        (None, 16 * GIB, 512 * MIB),
        (None, GIB, GIB * 2 // 5),
        (None, MIB, MIB),
        (7 * MIB, 16 * GIB, 7 * MIB),
        (GIB, GIB, GIB),
    ],
)
def test_the_budget_is_the_configurations_or_the_smaller_of_512_mib_and_40_percent(
    configured: int | None, partition: int, budget: int
) -> None:
    assert budget_bytes(configured, partition) == budget


@pytest.mark.parametrize(
    ("page_mib", "already", "over"),
    [(90, False, False), (91, False, True), (91, True, True), (86, True, True), (86, False, False), (85, True, False)],
)
def test_over_budget_above_90_percent_until_85(page_mib: int, *, already: bool, over: bool) -> None:
    assert over_budget(use(page_mib), LIMITS, already=already) is over


def test_a_long_write_ahead_log_is_no_reason_to_thin_events() -> None:
    assert not over_budget(use(50, wal_bytes=500 * MIB), LIMITS, already=True)


@pytest.mark.parametrize(
    ("wal_mib", "stretch", "waits"),
    [(0, 1, False), (4, 1, False), (5, 12, False), (8, 20, False), (16, 40, False), (17, 42, True), (9_000, 60, True)],
)
def test_a_write_ahead_log_that_cannot_be_used_again_grows_ever_more_slowly(
    wal_mib: int, stretch: int, *, waits: bool
) -> None:
    found = use(1, wal_bytes=wal_mib * MIB)
    assert commit_stretch(found, LIMITS) == stretch <= STRETCH_MOST
    assert urgent_rows_wait(found, LIMITS) == waits


@pytest.mark.parametrize(
    ("spare_kib", "free_kib", "wal_mib", "short"),
    [
        (0, 1024 * 1024, 1, False),
        (0, 3 * 1024 + 511, 1, True),  # 3 MiB of it are the write-ahead log's
        (0, 3 * 1024 + 513, 1, False),
        (600, 0, 1, False),
        (511, 0, 1, True),
        (0, 513, 4, False),
        (0, 0, 9, True),
    ],
)
def test_room_is_freed_pages_and_what_the_partition_leaves_beyond_the_write_ahead_log(
    spare_kib: int, free_kib: int, wal_mib: int, *, short: bool
) -> None:
    found = use(1, spare_kib << 10, wal_mib * MIB, free_kib << 10)
    assert short_of_room(found, LIMITS, already=False) is short


def test_once_short_of_room_twice_as_much_is_wanted() -> None:
    found = use(1, 600 << 10, free_bytes=0)
    assert not short_of_room(found, LIMITS, already=False)
    assert short_of_room(found, LIMITS, already=True)


@given(st.integers(1, 100), st.integers(0, 100), st.integers(-40, 40), st.booleans())
def test_nothing_goes_that_is_not_acknowledged(seq: int, acked: int, days: int, pressed: bool) -> None:
    goes = may_prune(seq, NOW_MS - days * DAY_MS, acked_seq=acked, cutoff_ms=NOW_MS - 30 * DAY_MS, pressed=pressed)
    assert goes == (seq <= acked and (pressed or days > 30))


@pytest.mark.parametrize("clock", ["unset", "restored"])
def test_a_clock_that_is_not_set_makes_nothing_old(clock: str) -> None:
    assert cutoff_ms(NOW_MS, LIMITS.retention_ms, clock) is None
    assert not may_prune(1, 0, acked_seq=1, cutoff_ms=None, pressed=False)


def test_retention_is_in_milliseconds_like_the_times_it_is_compared_with() -> None:
    assert cutoff_ms(NOW_MS, 30 * DAY_MS, "ntp") == NOW_MS - 2_592_000_000


@pytest.mark.parametrize(
    ("room", "grown", "grown_ms", "hours"),
    [
        (480 * MIB, 40 * MIB, DAY_MS, 288),
        (40 * MIB, 40 * MIB, DAY_MS // 2, 12),
        (-5, 40 * MIB, DAY_MS, 0),
        (480 * MIB, 0, DAY_MS, None),
        (480 * MIB, MIB, 59_999, None),
    ],
)
def test_autonomy_is_room_by_rate(room: int, grown: int, grown_ms: int, hours: int | None) -> None:
    assert autonomy_hours(room_bytes=room, grown_bytes=grown, grown_ms=grown_ms) == hours


@pytest.mark.parametrize(
    ("row", "least", "most"),
    [
        (Row(1, 1, 1, 0, 0, NOW_MS, 100_000, 1_000_000, None), 38, 48),
        (Row(10**7, 10**7, 600, 3, 1, NOW_MS, 10**9, 2**33, None), 46, 60),
        (Row(1, 1, 1, 15, 0, NOW_MS, 100_000, 0, "x" * 500), 540, 600),
    ],
)
def test_a_record_takes_what_its_numbers_need(row: Row, least: int, most: int) -> None:
    assert least <= record_bytes(row) <= most
