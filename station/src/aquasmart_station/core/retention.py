"""How much disk the log may take, what goes when it is short, and for how long it will do. Pure; units in the names.

Acknowledged events go when they are old, and earlier when space is needed, the oldest first. Events that the cloud has
not acknowledged never go: they are merged with their neighbours, which keeps every count (`core.merging`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Row

DEFAULT_BUDGET_BYTES = 512 << 20
PARTITION_PERCENT = 40
LEAST_BUDGET_BYTES = 1 << 20
PRESSED_PERCENT = 90
"""Of the budget: above it space is made."""
RELIEVED_PERCENT = 85
"""Of the budget: down to it, so that making space is not tried for every row."""
PRESSED_ROOM_BYTES = 512 << 10
RELIEVED_ROOM_BYTES = 1 << 20
STRETCH, STRETCH_MOST = 10, 60
"""By how much the commit interval grows while the write-ahead log cannot be used again: each commit lengthens it by
a page at least, however few rows it has. At first, and as the log grows."""
URGENT_WAIT_AT = 4
"""At so many times its limit not even urgent rows lengthen it at once."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SHORTEST_MEASURED_MS = 60_000
"""A rate of growth is not told from less than this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration and the file's settings allow."""

    budget_bytes: int
    retention_ms: int
    wal_limit_bytes: int
    """What the write-ahead log may come to."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """The log and its partition at one moment."""

    page_bytes: int
    """Pages of the log that hold something."""
    spare_bytes: int
    """Pages freed by pruning and merging: the log uses them again before it grows."""
    wal_bytes: int
    free_bytes: int
    """What the partition still takes."""

    @property
    def used_bytes(self) -> int:
        return self.page_bytes + self.wal_bytes

    def room_bytes(self, limits: Limits) -> int:
        """What new events can still take: freed pages, and the partition's rest less what the WAL may yet need."""
        wal_growth_bytes = max(0, limits.wal_limit_bytes - self.wal_bytes)
        return self.spare_bytes + max(0, self.free_bytes - wal_growth_bytes)


def budget_bytes(configured_bytes: int | None, partition_bytes: int) -> int:
    """What the log may take: as configured, else 512 MiB or 40 % of the partition, the smaller."""
    if configured_bytes is not None:
        return configured_bytes
    return max(LEAST_BUDGET_BYTES, min(DEFAULT_BUDGET_BYTES, partition_bytes * PARTITION_PERCENT // 100))


def over_budget(use: DiskUse, limits: Limits, *, already: bool) -> bool:
    """Whether the log is too near its budget. `already`: it was so before; then it must get well below.

    The write-ahead log does not count here: it shrinks by itself, and thinning events would not make it smaller.
    """
    percent = RELIEVED_PERCENT if already else PRESSED_PERCENT
    return use.page_bytes * 100 > limits.budget_bytes * percent


def short_of_room(use: DiskUse, limits: Limits, *, already: bool) -> bool:
    """Whether the partition, whoever fills it, leaves too little for the events to come."""
    return use.room_bytes(limits) < (RELIEVED_ROOM_BYTES if already else PRESSED_ROOM_BYTES)


def wants_spare(use: DiskUse) -> bool:
    """Whether a log on a full partition should free more pages in its own file: nobody else can take those."""
    return use.spare_bytes < RELIEVED_ROOM_BYTES


def commit_stretch(use: DiskUse, limits: Limits) -> int:
    """What to multiply the commit interval with.

    Somebody who reads the log for minutes keeps its write-ahead log from being used again, and nothing of ours can end
    that. What can be bounded is what it grows by: in one commit per minute almost nothing but the rows themselves.
    """
    if use.wal_bytes <= limits.wal_limit_bytes:
        return 1
    return min(STRETCH_MOST, STRETCH * use.wal_bytes // limits.wal_limit_bytes)


def urgent_rows_wait(use: DiskUse, limits: Limits) -> bool:
    """Whether urgent rows, too, wait for the plain commit interval.

    They are those of a totaliser that forgets: ten commits a second while water flows, 50 MB an hour. Late enough that
    an export never comes to it; then a power cut may cost such a meter the water of one interval, a full disk all.
    """
    return use.wal_bytes > URGENT_WAIT_AT * limits.wal_limit_bytes


def may_prune(row_seq: int, at_ms: int, *, acked_seq: int, cutoff_ms: int | None, pressed: bool) -> bool:
    """Whether a row may go: acknowledged to its last seq, and old enough or in the way.

    `cutoff_ms`: what is older is old; None while the clock is not set, which must not make anything look old.
    """
    if row_seq > acked_seq:
        return False
    return pressed or (cutoff_ms is not None and at_ms < cutoff_ms)


def cutoff_ms(now_ms: int, retention_ms: int, clock: str) -> int | None:
    """The wall time before which acknowledged events are old; None where the clock is not to be trusted."""
    return now_ms - retention_ms if clock in ("ntp", "rtc") else None


def record_bytes(row: Row) -> int:
    """About what a row takes in the file: integers as long as they need, the key, the record's header, its share of
    the page (fill and inner pages add about a twelfth)."""
    integers = sum(_integer_bytes(value) for value in row[1:8])
    text = 0 if row.data is None else len(row.data.encode())
    overhead = 12 + 4 + 2 + 5 + 1  # header, key, pointer, checksum, stream
    return (integers + text + overhead) * 13 // 12


def _integer_bytes(value: int) -> int:
    if value in (0, 1):
        return 0
    needed = (value.bit_length() + 8) // 8
    return needed if needed <= 4 else 6 if needed <= 6 else 8


def autonomy_hours(*, room_bytes: int, grown_bytes: int, grown_ms: int) -> int | None:
    """For how many hours `room_bytes` will do at the rate of `grown_bytes` in `grown_ms`; None where no rate is known.

    Without any thinning: with it, the log lasts ten to thousands of times as long.
    """
    if grown_ms < SHORTEST_MEASURED_MS or grown_bytes <= 0:
        return None
    return max(0, room_bytes) * grown_ms // grown_bytes // HOUR_MS
