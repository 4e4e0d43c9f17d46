"""When the rows of a batch happened: what the station claims, what the cloud believes, which minute gets what.

Pure, and a function of the batch and its moment of receipt alone, so that the same body read again from the
event store gives the same times (docs/protocol.md §8: the claim is kept beside the belief).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from .model import WINDOW_MS, Batch

EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: before there was any station. A clock that shows less has not been set."""

MINUTE_MS = 60_000


class MinuteRun(NamedTuple):
    """Rows [start, end) that fall into one minute."""

    start: int
    end: int
    bucket_at: int


class Timeline:
    """Believed times of a batch's rows, Unix milliseconds.

    Within a piece wall time is `base + offset`, so it never decreases there and minutes are found by bisection.
    """

    def __init__(self, batch: Batch, received_at: int) -> None:
        self.offsets = list(accumulate(batch.dt))
        """Monotonic milliseconds of each row since `at_mono`."""
        claimed = [(0, batch.at)]
        for row, step in batch.wall_steps:
            claimed.append((row, claimed[-1][1] + step))
        self.claimed_last = claimed[-1][1] + self.offsets[-1]
        self._pieces = claimed if self._plausible(claimed, received_at) else self._one_piece(received_at)
        self.shift_ms = self._pieces[-1][1] - claimed[-1][1]
        """Believed less claimed time of the last row."""

    def _plausible(self, pieces: list[tuple[int, int]], received_at: int) -> bool:
        latest = received_at + WINDOW_MS
        ends = [start for start, _ in pieces[1:]] + [len(self.offsets)]
        return all(
            base + self.offsets[start] >= EARLIEST_MS and base + self.offsets[end - 1] <= latest
            for (start, base), end in zip(pieces, ends, strict=True)
            if end > start
        )

    def _one_piece(self, received_at: int) -> list[tuple[int, int]]:
        """Order by the monotonic clock alone, up to the last row: at its claim if that can be, else at receipt."""
        last = self.claimed_last
        if not EARLIEST_MS <= last <= received_at + WINDOW_MS:
            last = received_at
        return [(0, last - self.offsets[-1])]

    def at(self, row: int) -> int:
        """Believed time of one row; never before EARLIEST_MS, however long a row claims to have taken."""
        base = next(base for start, base in reversed(self._pieces) if start <= row)
        return max(base + self.offsets[row], EARLIEST_MS)

    def extent(self, start: int) -> tuple[int, int]:
        """Earliest and latest believed time of the rows from `start` on."""
        edges = {start, len(self.offsets) - 1}
        for row, _ in self._pieces[1:]:
            edges |= {row, max(row - 1, start)} if row >= start else set()
        times = [self.at(row) for row in edges if row >= start]
        return min(times), max(times)

    def minutes(self, start: int) -> Iterator[MinuteRun]:
        """The rows from `start` on, cut at the minutes' boundaries: a bisection per minute, no work per row."""
        ends = [row for row, _ in self._pieces[1:]] + [len(self.offsets)]
        for (row, base), end in zip(self._pieces, ends, strict=True):
            place = max(row, start)
            while place < end:
                bucket_at = max(base + self.offsets[place], EARLIEST_MS) // MINUTE_MS * MINUTE_MS
                stop = bisect_left(self.offsets, bucket_at + MINUTE_MS - base, place, end)
                yield MinuteRun(place, stop, bucket_at)
                place = stop
