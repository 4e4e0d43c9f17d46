"""What the end of an operation means on the station: the protocol that the lane calls, and the plainest kind of it.

Every method is called within the transaction that ends the operation, and may be repeated after a crash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Protocol

from ..adapters.operation_rows import Operation


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


class DeliveryEffect:
    """An effect of delivery alone: whatever else becomes of the operation changes nothing on the station."""

    NOTHING_TO_RESOLVE = "there is nothing to decide"

    def refused(self, connection: sqlite3.Connection, operation: Operation, reason: str) -> None:
        """Nothing was changed that would have to be taken back."""

    def failed(self, connection: sqlite3.Connection, operation: Operation) -> None:
        """The same; `aquasmart operations retry` asks again."""

    def conflict(
        self,
        connection: sqlite3.Connection,  # noqa: ARG002
        operation: Operation,  # noqa: ARG002
        problem: Mapping[str, Any],  # noqa: ARG002
        now_ms: int,  # noqa: ARG002
    ) -> str:
        """There is only one version of what it is about."""
        return "failed"

    def resolve(
        self,
        connection: sqlite3.Connection,  # noqa: ARG002
        operation: Operation,  # noqa: ARG002
        keep: str,  # noqa: ARG002
        now_ms: int,  # noqa: ARG002
    ) -> str:
        return self.NOTHING_TO_RESOLVE
