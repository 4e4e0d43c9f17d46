"""The reader's look at itself and its board: conditions, and a diagnostics block when they change or an hour is over.

One `step` per cycle of the reader, in its thread; it reads a few small files every ten seconds and writes nothing.
What is to be written is handed back: the reader has the one run's stream and the one ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.anomaly import SUPPLY, Gauge, Sensitivity
from ..core.degraded import COVERED
from ..core.diagnosis import ROW_FLAGS, BoardFigures, Conditions, judge
from ..core.model import Flag, Kind
from ..core.ports import BoardGauges, Clock, DegradedReasons
from .polling import MeterPoller

LOOK_EVERY_MS = 10_000
LINE_FAULTS = frozenset({"link-down", "silent"})


class Block(NamedTuple):
    """A row for the run's meterless stream."""

    kind: Kind
    data: dict[str, Any]


class Diagnoser:
    """Looks at the board and the meters. `reasons` is told of each condition that appears or clears."""

    def __init__(
        self,
        *,
        board: BoardGauges,
        clock: Clock,
        sensitivity: Sensitivity,
        reasons: DegradedReasons | None,
        interval_s: float,
        supply_low_mv: int,
    ) -> None:
        self._board, self._clock, self._reasons = board, clock, reasons
        self._interval_ms, self._supply_low_mv = int(interval_s * 1000), supply_low_mv
        self._supply = Gauge(SUPPLY, sensitivity)
        self._conditions = Conditions()
        self._figures = BoardFigures(clock.quality())
        self._board_shown: frozenset[str] = frozenset()
        self._looked_ms: int | None = None
        self._told_ms: int | None = None

    @property
    def conditions(self) -> frozenset[str]:
        """What is wrong at present."""
        return self._conditions.active

    def step(self, pollers: Sequence[MeterPoller]) -> list[Block]:
        """The rows that are due now: usually none."""
        now_ms = self._clock.mono_ns() // 1_000_000
        blocks = self._look(now_ms)
        former = self._conditions.active
        covered = self._covered()
        # Only the next look at the board may bring it back: the last one may be as old as what covered it.
        self._board_shown -= covered
        shown = self._board_shown.union(*map(meter_conditions, pollers))
        changed = self._conditions.look(now_ms, shown, covered=covered)
        if changed:
            self._tell(former, pollers)
        due = self._told_ms is None or now_ms - self._told_ms >= self._interval_ms
        if pollers and (changed or due):
            self._told_ms = now_ms
            blocks.append(Block(Kind.DIAGNOSTIC, self._block(pollers)))
        return blocks

    def close(self) -> None:
        self._board.close()

    def _covered(self) -> frozenset[str]:
        """Conditions that a reason of the reader's says better: a full disk is not also low."""
        reasons = self._reasons.active if self._reasons is not None else frozenset()
        return frozenset(less for more, less in COVERED.items() if more in reasons)

    def _look(self, now_ms: int) -> list[Block]:
        """Look at the board where that is due; the supply's voltage is judged like a meter's figures."""
        if self._looked_ms is not None and now_ms - self._looked_ms < LOOK_EVERY_MS:
            return []
        self._looked_ms, self._figures = now_ms, self._board.look()
        self._board_shown = judge(self._figures, self._conditions.active, supply_low_mv=self._supply_low_mv)
        supply_mv = self._figures.supply_mv
        unusual = None if supply_mv is None else self._supply.sample(now_ms, supply_mv)
        return [Block(Kind.ANOMALY, unusual.row_data())] if unusual else []

    def _tell(self, former: frozenset[str], pollers: Sequence[MeterPoller]) -> None:
        active = self._conditions.active
        flags = Flag.NONE
        for name in active & ROW_FLAGS.keys():
            flags |= ROW_FLAGS[name]
        for poller in pollers:
            poller.observer.board_flags = flags
        if self._reasons is not None:
            for name in sorted(active - former):
                self._reasons.set(name)
            for name in sorted(former - active):
                self._reasons.clear(name)

    def _block(self, pollers: Sequence[MeterPoller]) -> dict[str, Any]:
        return {
            "conditions": sorted(self._conditions.active),
            "board": self._figures.row_data(),
            "meters": [_meter(poller) for poller in pollers],
        }


def meter_conditions(poller: MeterPoller) -> frozenset[str]:
    """A meter's conditions by their names for the whole station: `sensor-stuck:tap-1`."""
    shown = {"sensor-stuck" if name == "stuck" else name for name in poller.observer.conditions}
    # A line that has not been opened yet is down, too, and has no fault.
    if poller.state == "frozen" or (poller.state in LINE_FAULTS and poller.figures.fault):
        shown.add(poller.state)
    return frozenset(f"{name}:{poller.meter_id}" for name in shown)


def _meter(poller: MeterPoller) -> dict[str, Any]:
    figures = poller.figures
    return {
        "meter_id": poller.meter_id,
        "state": poller.state,
        "polls_good": figures.good,
        "polls_bad": figures.bad,
        "unbooked": figures.unbooked,
        "rtt_us": figures.reading.rtt_us if figures.reading else None,
        "counts": poller.account.view.counts,
    }
