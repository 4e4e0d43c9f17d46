"""Whether a station may be disturbed just now: its meters are read, and no water has run for a while. Pure.

What the reader shows of itself is looked at again and again; what counts is what was seen over the last seconds, since
between two pulses of a thin stream any single look sees nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .showing import MeterState


class Stillness:
    """Fed with what live.db shows; `unfit` says why nothing may be begun, empty where it may."""

    def __init__(self, meters: Sequence[str], quiet_ms: int) -> None:
        """`quiet_ms`: so long without a count. A pour is closed after 2 s, and a dribble belongs to it."""
        self._meters, self._quiet_ms = tuple(meters), quiet_ms
        self._seen: dict[str, int | None] = {}
        self._moved_ms: int | None = None
        self.unfit = "has not looked at the meters yet"

    def see(self, now_ms: int, *, reader_runs: bool, shown: Mapping[str, MeterState]) -> None:
        """One look, at a monotonic time."""
        self.unfit = self._why_not(now_ms, reader_runs=reader_runs, shown=shown)

    def _why_not(self, now_ms: int, *, reader_runs: bool, shown: Mapping[str, MeterState]) -> str:
        if not reader_runs:
            self._moved_ms = None  # what flowed meanwhile was not seen
            return "the reader is not running: this image does not read its meters now"
        for name in self._meters:
            state = shown.get(name)
            if state is None or state.state != "ok":
                self._moved_ms = None
                return f"meter {name} is not read now ({'not shown' if state is None else state.state})"
        moving = [name for name in self._meters if self._moves(shown[name])]
        if moving or self._moved_ms is None:
            self._moved_ms = now_ms
        if now_ms - self._moved_ms < self._quiet_ms:
            return f"water runs at {', '.join(moving)}" if moving else "water ran a moment ago"
        return ""

    def _moves(self, state: MeterState) -> bool:
        former = self._seen.get(state.meter_id)
        self._seen[state.meter_id] = state.counts
        return bool(state.flow_ul_s) or (former is not None and state.counts != former)
