"""Draining on request: sync sends at once, without lingering, until everything that was logged when it was asked is
acknowledged; then it answers.

A side lane that says nothing to the cloud itself. The request stays unanswered until then, so that a sync which is
restarted goes on with it, towards what the log holds by that time.
"""

from __future__ import annotations

from collections.abc import Callable

from ..adapters import operation_rows
from ..adapters.log_outbox import Outbox
from ..adapters.ops import OpsFile
from ..core.errors import OpsError
from ..core.ports import Clock

DRAIN = "drain"


class DrainLane:
    """`go` ends a wait of sync's own making; `asked` is what telemetry hurries for."""

    def __init__(self, *, ops: OpsFile, outbox: Outbox, clock: Clock, go: Callable[[], None]) -> None:
        self._ops, self._outbox, self._clock, self._go = ops, outbox, clock, go
        self._seen: tuple[int, int] | None = None
        self._until: dict[int, dict[int, int]] = {}
        """By request: the seq to which each stream must be acknowledged."""
        self.next_due_s = 0.0

    @property
    def asked(self) -> bool:
        """Whether somebody waits for the log to be empty."""
        return bool(self._until)

    def step(self) -> None:
        """See requests, answer those that are fulfilled. Raises Fenced; a fault of ops.db is waited out."""
        try:
            self._see_requests()
            for number in [number for number, until in self._until.items() if self._reached(until)]:
                with self._ops.writing() as connection:
                    operation_rows.answer(connection, number, "done", self._clock.wall_ns() // 1_000_000)
                del self._until[number]
        except OpsError:
            self._seen = None

    def finish(self, within_s: float) -> None:
        """What is asked stays asked: the next sync goes on with it."""

    def _see_requests(self) -> None:
        moment = self._ops.moment()
        if moment == self._seen:
            return
        with self._ops.reading() as connection:
            asked = {number for number, _, _ in operation_rows.asked(connection, (DRAIN,))}
        self._seen = moment
        for number in asked - self._until.keys():
            self._until[number] = {lane.number: lane.last_seq for lane in self._outbox.lanes.values() if lane.pending}
            self._go()

    def _reached(self, until: dict[int, int]) -> bool:
        # A stream without anything to deliver is no lane any more.
        lanes = self._outbox.lanes
        return all(number not in lanes or lanes[number].acked_seq >= seq for number, seq in until.items())
