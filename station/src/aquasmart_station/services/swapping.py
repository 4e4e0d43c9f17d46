"""Meter swaps that a technician has acknowledged: asked for in ops.db, carried out by the reader, answered there.

A request is answered only when a stream with its change token stands in the log, so it outlives every crash: before
that commit the request still waits and is carried out by the next run; after it, the next run finds the stream and
answers only. Asking twice of the account is harmless for the same reason: the token is looked up first. The operation
that tells the cloud is queued in the transaction that answers, hence once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from ..adapters import operation_rows
from ..adapters.ops import OpsFile
from ..core.errors import LogError, OpsError
from ..core.ports import Clock, EventLog
from .polling import MeterPoller

SWAP = "swap"
METER_CHANGE = "meter_change"
LOOK_EVERY_NS = 250_000_000
DONE = "done"
_NOT_READ = {"link-down", "silent", "waiting"}


def swap_argument(meter_id: str, former: str | None, found: str | None, change_token: str) -> dict[str, Any]:
    """What a request says: which meter was seen to answer in place of which. Another one is then refused."""
    return {"meter_id": meter_id, "change_token": change_token, "former_identity": former, "identity": found}


class MeterSwaps:
    """Asked in each cycle of the reader; a look without a request costs one pragma."""

    def __init__(self, *, ops: OpsFile, log: EventLog, clock: Clock) -> None:
        self._ops, self._log, self._clock = ops, log, clock
        self._seen: tuple[int, int] | None = None
        self._looked_ns: int | None = None
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self._told: set[str] = set()

    def step(self, pollers: Sequence[MeterPoller]) -> None:
        """Carry out what is asked. Never raises: what cannot be done or answered now is tried again."""
        now_ns = self._clock.mono_ns()
        if self._looked_ns is not None and now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        try:
            self._look()
            for number, argument in list(self._waiting):
                answer = self._carry_out(pollers, argument)
                if answer is not None:
                    self._answer(number, argument, answer)
                    self._waiting.remove((number, argument))
        except (LogError, OpsError):
            self._seen = None

    def _look(self) -> None:
        moment = self._ops.moment()
        if moment != self._seen:
            with self._ops.reading() as connection:
                self._waiting = [(n, argument) for n, _, argument in operation_rows.asked(connection, (SWAP,))]
            self._seen = moment

    def _carry_out(self, pollers: Sequence[MeterPoller], argument: Mapping[str, Any]) -> str | None:
        """The answer; None while there is none yet."""
        meter_id, change = str(argument.get("meter_id")), str(argument.get("change_token"))
        poller = next((each for each in pollers if each.meter_id == meter_id), None)
        if poller is None:
            return f"no meter is called {meter_id}"
        if self._log.has_change(change):
            return DONE
        view = poller.account.view
        if change in self._told:
            if poller.account.swap_refused != change:
                return None
            return f"nothing was changed: the meter {view.identity or ''} that was there answers".replace("  ", " ")
        if poller.state in _NOT_READ:
            return None
        if view.found_identity != argument.get("identity"):
            return f"nothing was changed: {view.found_identity or 'the former meter'} answers now; look again"
        self._told.add(change)
        poller.acknowledge_swap(change_token=change)
        return None

    def _answer(self, number: int, argument: Mapping[str, Any], answer: str) -> None:
        now_ms = self._clock.wall_ns() // 1_000_000
        with self._ops.writing() as connection:
            if answer == DONE and operation_rows.answer_to(connection, number) is None:
                _tell(connection, argument, now_ms)
            operation_rows.answer(connection, number, answer, now_ms)


def _tell(connection: sqlite3.Connection, argument: Mapping[str, Any], now_ms: int) -> None:
    said = {name: argument.get(name) for name in ("meter_id", "change_token", "former_identity", "identity")}
    operation_rows.enqueue(connection, METER_CHANGE, said | {"changed_at_ms": now_ms}, now_ms)
