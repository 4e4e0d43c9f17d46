"""A dead letter sent again by hand: as an operation, which says what the row said and carries no counts.

The gap in its place has carried the counts since it was acknowledged, so that a retry can add no volume, however often
it is repeated.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from ..adapters import operation_rows
from ..adapters.log_dead_letters import DeadLetter
from ..adapters.operation_rows import Operation
from ..core.operations import parameters_of
from .effects import DeliveryEffect

RESEND_EVENT = "resend_event"


def ask_again(connection: sqlite3.Connection, letter: DeadLetter, now_ms: int) -> int:
    """Queue the operation within the caller's transaction on ops.db; its number. Raises BadOperation."""
    row = letter.document()["row"]
    said = {name: row[name] for name in ("kind", "flags", "data")}
    return operation_rows.enqueue(
        connection, RESEND_EVENT, {"stream": str(letter.header.id), "seq": letter.row.seq, **said}, now_ms
    )


class ResendEffect(DeliveryEffect):
    """The dead letter is marked as sent again once the cloud has taken it; until then it stays one."""

    NOTHING_TO_RESOLVE = "there is nothing to resolve: a dead letter has one version"

    def __init__(self, note_resent: Callable[[str, int, int], None]) -> None:
        """`note_resent(stream, seq, now_ms)` records it in the log. Raises Fenced, LogError: then it is repeated."""
        self._note_resent = note_resent

    def delivered(
        self,
        connection: sqlite3.Connection,  # noqa: ARG002
        operation: Operation,
        data: Mapping[str, Any],  # noqa: ARG002
        now_ms: int,
    ) -> None:
        parameters = parameters_of(operation.parameters)
        self._note_resent(str(parameters["stream"]), int(parameters["seq"]), now_ms)
