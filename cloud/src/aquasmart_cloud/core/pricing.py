"""Volume by minute: prices only the boundaries of minutes, however many rows lie between. Pure, integers only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .ledger import Interval
from .timeline import MinuteRun


class Rollups:
    """Changes to the minute rollups of one meter: minute → volume µl, disputed µl, events."""

    def __init__(self) -> None:
        self.minutes: dict[int, list[int]] = {}

    def add(self, bucket_at: int, volume_ul: int = 0, disputed_ul: int = 0, events: int = 0) -> None:
        """Add to a minute; negative figures move volume out of it."""
        figures = self.minutes.get(bucket_at)
        if figures is None:
            self.minutes[bucket_at] = [volume_ul, disputed_ul, events]
        else:
            figures[0] += volume_ul
            figures[1] += disputed_ul
            figures[2] += events

    def grain(self, width_ms: int) -> dict[int, list[int]]:
        """The same changes by wider buckets."""
        wide: dict[int, list[int]] = {}
        for bucket_at, figures in self.minutes.items():
            found = wide.setdefault(bucket_at // width_ms * width_ms, [0, 0, 0])
            for index, figure in enumerate(figures):
                found[index] += figure
        return wide

    @property
    def volume_ul(self) -> int:
        return sum(figures[0] for figures in self.minutes.values())

    @property
    def disputed_ul(self) -> int:
        return sum(figures[1] for figures in self.minutes.values())


def by_minute(
    runs: Sequence[MinuteRun],
    positions: Sequence[int],
    price: Interval,
    shift_counts: int,
    from_counts: int,
    to_counts: int,
) -> list[tuple[int, int]]:
    """Volume of root positions [from_counts, to_counts) by the minute of the rows that cover them.

    `runs` and `positions` (own) are those of the batch; `price` is the interval that books the part. Sums exactly
    to `price.volume_ul(from_counts, to_counts)`, since each boundary is priced once on either side.
    """
    low, high = from_counts - shift_counts, to_counts - shift_counts
    index = max(bisect_right(runs, low, key=lambda run: positions[run.start]) - 1, 0)
    found = []
    for run in runs[index:]:
        start, end = max(positions[run.start], low), min(positions[run.end], high)
        if end > start:
            found.append((run.bucket_at, price.volume_ul(start + shift_counts, end + shift_counts)))
        if positions[run.end] >= high:
            break
    return found
