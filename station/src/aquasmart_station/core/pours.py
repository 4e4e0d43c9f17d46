"""Pours: which counts of a meter belong together as one filling, and its figures.

Pure, in whole counts, µl and ms: positions in, finished pours out. A pour covers no counts of its own; it repeats
what volume rows have booked (meters' page: it begins with Δ > 0 or with the valve opening, ends after 2 s without,
and the dribble belongs to it). Where its row stands in the log, and that it is closed before the stream changes, is
decided in `observing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .model import Scale

QUIET_MS = 2_000
"""So long without a count ends a pour."""

BRIDGE_MS = 10_000
"""Readings may fail for so long within a pour. What flowed in a longer gap belongs to none: nobody saw when."""

SLICE_MS = 1_000
"""Flow is measured over so long: at 10 Hz a single reading holds a handful of counts, and would be off by a tenth."""

MOST_SLICES = 4_096
"""Slices kept of a pour that does not end; its peak is followed further."""


@dataclass(frozen=True, slots=True)
class Pour:
    """A finished pour. It began between the last still reading and the first that moved: counted from the former."""

    from_counts: int
    to_counts: int
    volume_ul: int
    duration_ms: int
    peak_ul_s: int
    mean_ul_s: int
    level_ul_s: int | None
    """The flow of its steady part: the upper quartile of the seconds in which water ran, None below two of them."""

    def row_data(self) -> dict[str, Any]:
        """The figures that a `pour` row repeats."""
        return {
            "from_counts": self.from_counts,
            "to_counts": self.to_counts,
            "volume_ul": self.volume_ul,
            "duration_ms": self.duration_ms,
            "peak_ul_s": self.peak_ul_s,
            "mean_ul_s": self.mean_ul_s,
        }


@dataclass(slots=True)
class _Open:
    """A pour under way."""

    from_counts: int
    from_ms: int
    flowed_ms: int
    """When a count was last seen."""
    slice_counts: int
    slice_ms: int
    slices: list[int] = field(default_factory=list)
    peak_ul_s: int = 0


class Pours:
    """Follows one meter's position. Times are monotonic ms and do not go back."""

    def __init__(self, scale: Scale, *, bridge_ms: int = BRIDGE_MS) -> None:
        self._scale = scale
        self._bridge_ms = bridge_ms
        self._position: int | None = None
        self._seen_ms = 0
        self._open: _Open | None = None

    @property
    def flowing(self) -> bool:
        """Whether a pour is under way."""
        return self._open is not None

    @property
    def volume_ul(self) -> int:
        """Volume of the pour under way so far, 0 without one."""
        if self._open is None or self._position is None:
            return 0
        return self._scale.volume_ul(self._open.from_counts, self._position)

    @property
    def begun_ms(self) -> int | None:
        """When the pour under way began, None without one."""
        return self._open.from_ms if self._open else None

    def observe(self, mono_ms: int, position: int, *, valve_open: bool | None = None) -> Pour | None:
        """The pour that this reading ends, if it does. The first reading only says where the meter stands."""
        finished = None
        if self._position is None or mono_ms - self._seen_ms > self._bridge_ms:
            finished = self.close()
            self._position = position
        moved = position > self._position
        opened = self._open
        if opened is None and (moved or valve_open):
            start_ms = self._seen_ms if moved else mono_ms
            opened = self._open = _Open(self._position, start_ms, mono_ms, self._position, start_ms)
        self._position, self._seen_ms = position, mono_ms
        if opened is None:
            return finished
        self._measure(opened, mono_ms, position)
        if moved or valve_open:
            opened.flowed_ms = mono_ms
        elif mono_ms - opened.flowed_ms >= QUIET_MS:
            finished = self.close()
        return finished

    def pending(self) -> Pour | None:
        """What the pour under way would be if it ended now, its level left out."""
        opened, position = self._open, self._position
        if opened is None or position is None or position <= opened.from_counts:
            return None
        volume_ul = self._scale.volume_ul(opened.from_counts, position)
        duration_ms = max(1, opened.flowed_ms - opened.from_ms)
        mean_ul_s = volume_ul * 1000 // duration_ms
        return Pour(
            from_counts=opened.from_counts,
            to_counts=position,
            volume_ul=volume_ul,
            duration_ms=duration_ms,
            peak_ul_s=max(opened.peak_ul_s, mean_ul_s),
            mean_ul_s=mean_ul_s,
            level_ul_s=None,
        )

    def close(self) -> Pour | None:
        """End the pour under way, whatever the reason; None where there is none, or none with a count."""
        pour, opened, self._open = self.pending(), self._open, None
        if pour is None or opened is None or len(opened.slices) < 2:
            return pour
        return replace(pour, level_ul_s=sorted(opened.slices)[len(opened.slices) * 3 // 4])

    def expire(self, mono_ms: int) -> Pour | None:
        """End a pour that no reading has confirmed for longer than may be bridged."""
        return self.close() if self._open and mono_ms - self._seen_ms > self._bridge_ms else None

    def forget(self) -> None:
        """Drop the pour under way and the position: what comes next is another stream's."""
        self._open, self._position = None, None

    def _measure(self, opened: _Open, mono_ms: int, position: int) -> None:
        duration_ms = mono_ms - opened.slice_ms
        if duration_ms < SLICE_MS:
            return
        flow_ul_s = self._scale.volume_ul(opened.slice_counts, position) * 1000 // duration_ms
        opened.slice_counts, opened.slice_ms = position, mono_ms
        opened.peak_ul_s = max(opened.peak_ul_s, flow_ul_s)
        if flow_ul_s and len(opened.slices) < MOST_SLICES:
            opened.slices.append(flow_ul_s)
