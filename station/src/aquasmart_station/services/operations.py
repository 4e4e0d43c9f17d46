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
from dataclasses import dataclass
from typing import Any, Protocol

from ..adapters import operation_rows as rows
from ..adapters.operation_rows import Operation
from ..adapters.ops import OpsFile
from ..core.backoff import Backoff, retry_after_s
from ..core.conversation import CloudClock, Identity, SignedRequest, answered_at_ms, is_signed, signed_request
from ..core.errors import BadOperation, Fenced, OpsError
from ..core.keyring import KeyRing
from ..core.operations import OperationRequest, encode_operation, parameters_of, type_of
from ..core.outcome import (
    RECHECK_S,
    SIGNED_RETRY_AFTER_LIMIT_S,
    Answer,
    Conflict,
    Delivered,
    Hold,
    KeyRefused,
    NoAnswer,
    Outcome,
    Refused,
    Retry,
    Skewed,
    TooLarge,
    Unverified,
    outcome_of,
)
from ..core.ports import Clock, Courier, InFlight

IN_PROGRESS = "operation-in-progress"
BURST_S = 0.1
"""How long a step may go on while answers come at once; telemetry's turn follows."""
ANSWER_LOOK_S = 0.02
FORGET_EVERY_S = 86_400.0


class Effect(Protocol):
    """What an operation's end means on the station. Called within the transaction that ends it; may be repeated."""

    def delivered(
        self, connection: sqlite3.Connection, operation: Operation, data: Mapping[str, Any], now_ms: int
    ) -> None: ...

    def refused(self, connection: sqlite3.Connection, operation: Operation, reason: str) -> None: ...

    def failed(self, connection: sqlite3.Connection, operation: Operation) -> None: ...

    def conflict(
        self, connection: sqlite3.Connection, operation: Operation, problem: Mapping[str, Any], now_ms: int
    ) -> str:
        """Reconcile; the state in which the operation ends: `conflict` or `superseded`."""
        ...

    def resolve(self, connection: sqlite3.Connection, operation: Operation, keep: str, now_ms: int) -> str:
        """A person's decision on a conflict; words for that person."""
        ...


@dataclass(frozen=True, slots=True)
class _Flying:
    operation: Operation
    wanted: OperationRequest
    signer: Identity
    request: SignedRequest
    answer: InFlight
    corrected: bool
    other_tried: bool


class OperationsLane:
    """A side lane: `step` never blocks for longer than a moment. Constructed by wiring."""

    def __init__(
        self,
        *,
        ops: OpsFile,
        courier: Courier,
        keyring: KeyRing,
        clock: Clock,
        cloud_clock: CloudClock,
        draw: Callable[[], float],
        effects: Mapping[str, Effect],
        announced: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._ops, self._courier, self._keyring = ops, courier, keyring
        self._clock, self._cloud_clock, self._draw = clock, cloud_clock, draw
        self._effects, self._announced = effects, announced
        self._flying: _Flying | None = None
        self._waiting = True
        self._not_before_s = 0.0
        self._failures = 0
        self._forget_s = 0.0
        self.text = ""
        """What is wrong, in words; empty where nothing is."""

    @property
    def next_due_s(self) -> float:
        """When the next step has something to do, in monotonic seconds."""
        if self._flying is not None:
            return self._mono_s() + ANSWER_LOOK_S
        return max(self._not_before_s, self._mono_s()) if self._waiting else self._mono_s() + 0.25

    def step(self) -> None:
        """Do what is due. Raises Fenced where another sync has taken over; a fault of ops.db is waited out."""
        began_s = self._mono_s()
        try:
            self._see_requests()
            while self._advance() and self._mono_s() - began_s < BURST_S:
                pass
        except Fenced:
            raise
        except OpsError as fault:
            # Whatever was not recorded is still pending: it goes out again, and the cloud does it once.
            self._flying = None
            self._wait(str(fault))

    def finish(self, within_s: float) -> None:
        """Take an answer that is nearly here. What is still under way goes out again at the next start."""
        if self._flying is not None:
            answer = self._flying.answer.wait(within_s)
            if answer is not None:
                self._take(self._flying, answer)
        self._courier.abandon()

    def _advance(self) -> bool:
        """One request begun or one answer taken; False where there is nothing to do now."""
        if self._flying is not None:
            answer = self._flying.answer.wait(ANSWER_LOOK_S)
            if answer is None:
                return False
            self._take(self._flying, answer)
            return True
        if not self._waiting or self._mono_s() < self._not_before_s:
            return False
        with self._ops.reading() as connection:
            operation = rows.first_pending(connection)
        if operation is None:
            self._waiting, self._failures, self.text = False, 0, ""
            return False
        return self._begin(operation)

    def _see_requests(self) -> None:
        if not self._ops.changed():
            return
        self._waiting = True
        with self._ops.reading() as connection:
            asked = rows.asked(connection)
        now_ms = self._now_ms()
        for number, kind, argument in asked:
            with self._ops.writing() as connection:
                rows.answer(connection, number, self._execute(connection, kind, argument, now_ms), now_ms)
        if asked:
            self._not_before_s = min(self._not_before_s, self._mono_s())
        if self._mono_s() >= self._forget_s:
            self._forget_s = self._mono_s() + FORGET_EVERY_S
            with self._ops.writing() as connection:
                rows.forget_old(connection, now_ms)

    def _execute(self, connection: sqlite3.Connection, kind: str, argument: Mapping[str, Any], now_ms: int) -> str:
        """Do what the command line asks of this service."""
        number = argument.get("operation")
        operation = rows.operation(connection, number) if isinstance(number, int) else None
        if operation is None:
            return "there is no such operation"
        if kind == "retry":
            return "queued again" if rows.revive(connection, operation.id) else f"it is {operation.state}, not failed"
        effect = self._effects.get(operation.type)
        if kind != "resolve" or effect is None or operation.state != "conflict":
            return f"it is {operation.state}: there is no conflict to resolve"
        said = effect.resolve(connection, operation, str(argument.get("keep")), now_ms)
        rows.settle(connection, operation.id, "superseded", now_ms, attempts=operation.attempts, error=said)
        return said

    def _begin(self, operation: Operation) -> bool:
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
            return True
        self._send(operation, wanted)
        return True

    def _send(
        self, operation: Operation, wanted: OperationRequest, *, corrected: bool = False, other_tried: bool = False
    ) -> None:
        signer = self._keyring.current
        timestamp_ms = self._cloud_clock.now_ms(mono_ms=self._mono_ms(), wall_ms=self._now_ms())
        request = signed_request(
            signer,
            wanted.target,
            wanted.body,
            timestamp_ms,
            method=wanted.method,
            idempotency_key=operation.idempotency_key,
            if_match=operation.if_match,
        )
        answer = self._courier.post(request.target, request.headers, request.body)
        self._flying = _Flying(operation, wanted, signer, request, answer, corrected, other_tried)

    def _take(self, flying: _Flying, answer: Answer | NoAnswer) -> None:
        self._flying = None
        signed = is_signed(flying.signer, flying.request, answer)
        if signed and isinstance(answer, Answer):
            self._cloud_clock.learn(answered_at_ms(answer), mono_ms=self._mono_ms())
        outcome = outcome_of(
            answer,
            signed=signed,
            trace_id=flying.operation.trace_id,
            now_wall_s=self._now_ms() / 1000,
            lane="operation",
        )
        self._act(flying, outcome)

    def _act(self, flying: _Flying, outcome: Outcome) -> None:
        operation = flying.operation
        match outcome:
            case Delivered():
                self._delivered(operation, outcome.data)
            case Skewed() if not flying.corrected:
                self._cloud_clock.learn(outcome.server_time_ms, mono_ms=self._mono_ms())
                self._send(operation, flying.wanted, corrected=True, other_tried=flying.other_tried)
            case Unverified(other_key=True) | KeyRefused() if self._other_key(flying):
                self._send(operation, flying.wanted, corrected=flying.corrected, other_tried=True)
            case Retry():
                self._retry(operation, outcome)
            case Unverified():
                self._unverified(outcome)
            case Refused():
                self._refused(operation, outcome.code, outcome.detail)
            case TooLarge():
                self._refused(operation, "too-large", outcome.detail)
            case Conflict():
                self._conflict(operation, outcome.document)
            case Hold() | KeyRefused():
                self._wait(f"the cloud says {outcome.code}: {outcome.detail}", RECHECK_S * (0.9 + 0.1 * self._draw()))
            case _:
                self._retry(operation, Retry("the cloud's answer is none to an operation", verified=True))

    def _other_key(self, flying: _Flying) -> bool:
        """Change keys, once per request; another lane may have done so while this request was under way."""
        if flying.other_tried or self._keyring.other is None:
            return False
        if self._keyring.current.key_id == flying.signer.key_id:
            self._keyring.use_other()
        return True

    def _delivered(self, operation: Operation, data: Mapping[str, Any]) -> None:
        now_ms = self._now_ms()
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            if effect is not None:
                effect.delivered(connection, operation, data, now_ms)
            rows.settle(connection, operation.id, "done", now_ms, attempts=operation.attempts + 1, answer=data)
        self._failures, self._not_before_s, self.text = 0, 0.0, ""
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
        wait_s = self._wait(outcome.reason, outcome.after_s, profile.backoff)
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

    def _unverified(self, outcome: Unverified) -> None:
        slow = self._failures > 10
        self._wait(outcome.text, RECHECK_S * (0.5 + 0.5 * self._draw()) if slow else None)

    def _refused(self, operation: Operation, code: str, detail: str) -> None:
        """A verified, permanent refusal: the only thing that rolls a local effect back."""
        self._end(operation, "refused", code=code, error=detail)

    def _conflict(self, operation: Operation, problem: Mapping[str, Any]) -> None:
        now_ms = self._now_ms()
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            state = "failed" if effect is None else effect.conflict(connection, operation, problem, now_ms)
            detail = str(problem.get("detail", ""))
            rows.settle(
                connection, operation.id, state, now_ms, attempts=operation.attempts + 1, code="config-conflict",
                error=detail,
            )  # fmt: skip
        self._waiting, self._failures, self._not_before_s = True, 0, 0.0

    def _end(self, operation: Operation, state: str, *, code: str, error: str, attempts: int | None = None) -> None:
        now_ms, attempts = self._now_ms(), operation.attempts + 1 if attempts is None else attempts
        with self._ops.writing() as connection:
            effect = self._effects.get(operation.type)
            if effect is not None and state == "refused":
                effect.refused(connection, operation, f"{code}: {error}")
            elif effect is not None:
                effect.failed(connection, operation)
            rows.settle(connection, operation.id, state, now_ms, attempts=attempts, code=code, error=error)
        self._failures, self._not_before_s = 0, 0.0

    def _wait(self, reason: str, after_s: float | None = None, backoff: Backoff | None = None) -> float:
        """Wait before the next request; how long, in seconds."""
        self._failures += 1
        self.text = reason
        if after_s is None:
            wait_s = (backoff or Backoff()).delay_s(self._failures, self._draw())
        else:
            wait_s = retry_after_s(after_s, self._draw(), limit_s=SIGNED_RETRY_AFTER_LIMIT_S)
        self._not_before_s = self._mono_s() + wait_s
        return wait_s

    def _mono_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    def _mono_ms(self) -> int:
        return self._clock.mono_ns() // 1_000_000

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000
