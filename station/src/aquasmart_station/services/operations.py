"""The operations lane: what the station has to tell the cloud besides telemetry, first in, first out, exactly once.

A side lane of sync with a courier and a backoff of its own: neither a blocked stream nor a failing operation delays
the other. An operation keeps its idempotency key and its trace id over all retries, also over restarts: a process
that dies between the cloud's commit and our own leaves it pending, it goes out again, and the cloud gives its first
answer again. So the local effect of an answer may be repeated, and every effect here is written to bear that; it
stands in one transaction with the end of its operation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from ..adapters import operation_rows as rows
from ..adapters.operation_rows import Operation
from ..adapters.ops import OpsFile
from ..core.errors import BadOperation, OpsError
from ..core.operations import encode_operation, parameters_of, type_of
from ..core.outcome import (
    RECHECK_S,
    Conflict,
    Delivered,
    Hold,
    KeyRefused,
    Outcome,
    Refused,
    Retry,
    TooLarge,
    Unverified,
)
from ..core.pacing import Pace
from ..core.phrases import Phrase, marked
from ..core.ports import Clock
from .effects import Effect
from .exchange import Asked, Exchange

IN_PROGRESS = "operation-in-progress"
REQUESTS = ("retry", "resolve")
BURST_S = 0.1
"""How long a step may go on while answers come at once; telemetry's turn follows."""
ANSWER_LOOK_S = 0.02
FORGET_EVERY_S = 86_400.0
LAST_S = 1.0
"""How long an answer is waited for when stopping."""


class OperationsLane:
    """A side lane of sync: `step` waits no longer than a moment. Constructed by wiring."""

    def __init__(
        self,
        *,
        ops: OpsFile,
        exchange: Exchange,
        clock: Clock,
        draw: Callable[[], float],
        effects: Mapping[str, Effect],
        announced: Callable[[Mapping[str, Any]], None] = lambda _: None,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self._ops, self._exchange, self._clock, self._draw = ops, exchange, clock, draw
        self._effects, self._announced = effects, announced
        self._pace = Pace(recheck_s=recheck_s)
        self._sent: Operation | None = None
        self._waiting = True
        self._seen: tuple[int, int] | None = None
        self._forget_s = 0.0
        self.next_due_s = 0.0
        self.text = ""
        """What is wrong, in words; empty where nothing is."""

    def step(self) -> None:
        """Do what is due. Raises Fenced where another sync has taken over; a fault of ops.db is waited out."""
        began_s = self._mono_s()
        try:
            self._see_requests()
            self._forget_old()
            while self._advance() and self._mono_s() - began_s < BURST_S:
                pass
        except OpsError as fault:
            # Whatever was not recorded is still pending: it goes out again, and the cloud does it once.
            self._sent = None
            self._exchange.abandon()
            self._wait(Retry(fault.message))

    def finish(self, within_s: float) -> None:
        """Take an answer that is nearly here. What is still under way goes out again at the next start."""
        if self._sent is not None and within_s > 0:
            outcome = self._exchange.outcome(min(within_s, LAST_S))
            if outcome is not None:
                self._act(self._sent, outcome)
        self._exchange.abandon()

    def _advance(self) -> bool:
        """One request begun or one answer taken; False where there is nothing to do now."""
        if self._sent is not None:
            outcome = self._exchange.outcome(ANSWER_LOOK_S)
            if outcome is None:
                return False
            operation, self._sent = self._sent, None
            self._act(operation, outcome)
            return True
        # A link that comes up makes an operation due sooner, but ends no wait that the cloud asked for.
        asked_for_s = self._pace.not_before_s if self._pace.asked_for else 0.0
        if not self._waiting or self._mono_s() < max(self.next_due_s, asked_for_s):
            return False
        with self._ops.reading() as connection:
            operation_due = rows.first_pending(connection)
        if operation_due is None:
            self._waiting = False
            self._rest()
            return False
        self._begin(operation_due)
        return True

    def _see_requests(self) -> None:
        moment = self._ops.moment()
        if moment == self._seen:
            return
        self._seen, self._waiting = moment, True
        with self._ops.reading() as connection:
            asked = rows.asked(connection, REQUESTS)
        now_ms = self._now_ms()
        for number, kind, argument in asked:
            with self._ops.writing() as connection:
                rows.answer(connection, number, self._execute(connection, kind, argument, now_ms), now_ms)
        if asked and not self._pace.asked_for:
            self.next_due_s = self._mono_s()

    def _forget_old(self) -> None:
        """Once a day, and only by the cloud's word on what time it is: the station's clock may say anything."""
        cloud_ms = self._exchange.cloud_time_ms()
        if cloud_ms is None or self._mono_s() < self._forget_s:
            return
        self._forget_s = self._mono_s() + FORGET_EVERY_S
        with self._ops.writing() as connection:
            rows.forget_old(connection, cloud_ms)

    def _execute(self, connection: sqlite3.Connection, kind: str, argument: Mapping[str, Any], now_ms: int) -> str:
        """Do what the command line asks of this service."""
        number = argument.get("operation")
        operation = rows.operation(connection, number) if isinstance(number, int) else None
        if operation is None:
            return marked("there is no such operation")
        if kind == "retry":
            revived = rows.revive(connection, operation.id)
            return marked("queued again") if revived else f"it is {operation.state}, not failed"
        effect = self._effects.get(operation.type)
        if kind != "resolve" or effect is None or operation.state != "conflict":
            return f"it is {operation.state}: there is no conflict to resolve"
        said = effect.resolve(connection, operation, str(argument.get("keep")), now_ms)
        self._settle(connection, operation, "superseded", attempts=operation.attempts, error=said)
        return said

    def _begin(self, operation: Operation) -> None:
        """Start the request; one that cannot be made fails here, before anything is sent."""
        try:
            wanted = encode_operation(
                operation.type,
                parameters_of(operation.parameters),
                trace_id=operation.trace_id,
                created_at_ms=operation.created_at_ms,
                txn_token=operation.txn_token,
            )
        except BadOperation as fault:
            self._end(operation, "failed", code="unreadable", error=f"{fault} {fault.hint}".strip())
            return
        self._sent = operation
        self._exchange.ask(
            Asked(
                wanted.target,
                wanted.body,
                operation.trace_id,
                method=wanted.method,
                idempotency_key=operation.idempotency_key,
                if_match=operation.if_match,
            )
        )

    def _act(self, operation: Operation, outcome: Outcome) -> None:
        match outcome:
            case Delivered():
                self._delivered(operation, outcome.data)
            case Retry():
                self._retry(operation, outcome)
            case Unverified():
                self.text = outcome.text
                self._pace.unverified(self._mono_s(), self._draw())
                self.next_due_s = self._pace.not_before_s
            case Refused():
                self._end(operation, "refused", code=outcome.code, error=outcome.detail)
            case TooLarge():
                self._end(operation, "refused", code="too-large", error=outcome.detail)
            case Conflict():
                self._conflict(operation, outcome.document)
            case Hold() | KeyRefused():
                self.text = f"the cloud says {outcome.code}: {outcome.detail}"
                self._pace.held(self._mono_s(), self._draw())
                self.next_due_s = self._pace.not_before_s
            case _:
                self._retry(operation, Retry(Phrase("the cloud's answer fits no operation"), verified=True))

    def _delivered(self, operation: Operation, data: Mapping[str, Any]) -> None:
        now_ms = self._now_ms()
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            if effect is not None:
                effect.delivered(connection, operation, data, now_ms)
            self._settle(connection, operation, "done", attempts=operation.attempts + 1, answer=data)
        self._rest()
        self._announced(data)

    def _retry(self, operation: Operation, outcome: Retry) -> None:
        """Not now. Only what the cloud itself said counts; a lost network never makes an operation fail."""
        profile = type_of(operation.type).profile
        counts = outcome.verified and outcome.code != IN_PROGRESS
        attempts = operation.attempts + counts
        if attempts >= profile.attempts:
            said = f"given up after {attempts} answers: {outcome.reason}"
            self._end(operation, "failed", code=outcome.code, error=said, attempts=attempts)
            return
        self._pace.backoff = profile.backoff
        wait_s = self._wait(outcome)
        with self._ops.writing() as connection:
            next_at_ms = self._now_ms() + int(wait_s * 1000)
            rows.note_attempt(
                connection,
                operation.id,
                attempts=attempts,
                next_at_ms=next_at_ms,
                code=outcome.code,
                error=outcome.reason,
            )

    def _conflict(self, operation: Operation, problem: Mapping[str, Any]) -> None:
        now_ms = self._now_ms()
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            state = "failed" if effect is None else effect.conflict(connection, operation, problem, now_ms)
            detail = str(problem.get("detail", ""))
            said = {"code": "config-conflict", "error": detail}
            self._settle(connection, operation, state, attempts=operation.attempts + 1, **said)
        self._waiting = True
        self._rest()

    def _end(self, operation: Operation, state: str, *, code: str, error: str, attempts: int | None = None) -> None:
        attempts = operation.attempts + 1 if attempts is None else attempts
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            if effect is not None and state == "refused":
                effect.refused(connection, operation, f"{code}: {error}")
            elif effect is not None:
                effect.failed(connection, operation)
            self._settle(connection, operation, state, attempts=attempts, code=code, error=error)
        self._rest()

    def _settle(self, connection: sqlite3.Connection, operation: Operation, state: str, **said: Any) -> None:
        rows.settle(connection, operation.id, state, self._exchange.cloud_time_ms(), **said)

    def _wait(self, outcome: Retry) -> float:
        """Wait before the next request; how long, in seconds."""
        self.text = outcome.reason
        wait_s = self._pace.failed(self._mono_s(), self._draw(), after_s=outcome.after_s, verified=outcome.verified)
        self.next_due_s = self._pace.not_before_s
        return wait_s

    def _rest(self) -> None:
        """The next operation is due at once."""
        self._pace.succeeded()
        self.next_due_s, self.text = 0.0, ""

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000
