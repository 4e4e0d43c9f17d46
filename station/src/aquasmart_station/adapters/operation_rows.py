"""Operations in ops.db: queued by anybody, taken to the cloud by sync.

Functions of a connection, so that an operation and its local effect stand in one transaction: both are there after a
power cut, or neither. What an answer means is not decided here.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.encoding import compact
from ..core.operations import checked

KEEP_SETTLED_MS = 30 * 86_400_000
"""How long a settled operation is shown; failed and refused ones stay until somebody retries or drops them."""

_COLUMNS = (
    "id, type, parameters, idempotency_key, trace_id, txn_token, if_match, created_at_ms, state, attempts, next_at_ms,"
    " code, error, answer, settled_at_ms"
)


STATES = ("pending", "done", "failed", "refused", "conflict", "superseded")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row. `parameters` is JSON as kept: it may be damaged, which is found before any request."""

    id: int
    type: str
    parameters: str
    idempotency_key: str
    trace_id: str
    txn_token: str | None
    if_match: str | None
    created_at_ms: int
    state: str
    attempts: int
    next_at_ms: int
    code: str
    error: str
    answer: str | None
    settled_at_ms: int | None
    """By the cloud's clock; None while that is not known."""

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        try:
            parameters = json.loads(self.parameters)
        except ValueError:
            parameters = None
        return {
            "id": self.id,
            "type": self.type,
            "state": self.state,
            "attempts": self.attempts,
            "created_at_ms": self.created_at_ms,
            "settled_at_ms": self.settled_at_ms,
            "idempotency_key": self.idempotency_key,
            "trace_id": self.trace_id,
            "txn_token": self.txn_token,
            "code": self.code,
            "error": self.error,
            "parameters": parameters,
        }


def enqueue(
    connection: sqlite3.Connection,
    kind: str,
    parameters: Mapping[str, Any],
    now_ms: int,
    *,
    txn_token: str | None = None,
    if_match: str | None = None,
) -> int:
    """Queue an operation within the caller's transaction; its number. Raises BadOperation, nothing queued.

    The idempotency key is made here, once: whatever is repeated after this, the cloud does it once.
    """
    checked(kind, parameters)
    cursor = connection.execute(
        "INSERT INTO operation (type, parameters, idempotency_key, trace_id, txn_token, if_match, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, compact(parameters), str(uuid.uuid4()), uuid.uuid4().hex, txn_token, if_match, now_ms),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def first_pending(connection: sqlite3.Connection) -> Operation | None:
    """The operation whose turn it is: first in, first out."""
    return _one(connection, "WHERE state = 'pending' ORDER BY id LIMIT 1")


def operation(connection: sqlite3.Connection, number: int) -> Operation | None:
    """One operation by its number."""
    return _one(connection, "WHERE id = ?", number)


def listed(connection: sqlite3.Connection, states: tuple[str, ...] = (), limit: int = 1_000) -> list[Operation]:
    """The latest operations, newest last; of some states or of all."""
    marks = ", ".join("?" for _ in states)
    where = f"WHERE state IN ({marks}) " if states else ""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM operation {where}ORDER BY id DESC LIMIT ?",  # noqa: S608
        (*states, limit),
    )
    return [Operation(*row) for row in rows][::-1]


def of_type(connection: sqlite3.Connection, kind: str, limit: int = 1_000) -> list[Operation]:
    """The latest operations of a type, newest last."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM operation WHERE type = ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        (kind, limit),
    )
    return [Operation(*row) for row in rows][::-1]


def counted(connection: sqlite3.Connection) -> dict[str, int]:
    """How many there are of each state."""
    return dict(connection.execute("SELECT state, count(*) FROM operation GROUP BY state"))


def waiting(connection: sqlite3.Connection) -> tuple[int | None, int]:
    """When the oldest pending operation was queued, None without one, and the attempts it has had."""
    found = connection.execute(
        "SELECT created_at_ms, attempts FROM operation WHERE state = 'pending' ORDER BY id LIMIT 1"
    ).fetchone()
    return (None, 0) if found is None else (int(found[0]), int(found[1]))


def note_attempt(
    connection: sqlite3.Connection, number: int, *, attempts: int, next_at_ms: int, code: str, error: str
) -> None:
    """Keep what the last try came to; the operation stays pending."""
    connection.execute(
        "UPDATE operation SET attempts = ?, next_at_ms = ?, code = ?, error = ? WHERE id = ? AND state = 'pending'",
        (attempts, next_at_ms, code, error, number),
    )


def settle(
    connection: sqlite3.Connection,
    number: int,
    state: str,
    cloud_ms: int | None,
    *,
    attempts: int,
    code: str = "",
    error: str = "",
    answer: Mapping[str, Any] | None = None,
) -> None:
    """End an operation as `done`, `failed`, `refused`, `conflict` or `superseded`, at the cloud's time if known."""
    connection.execute(
        "UPDATE operation SET state = ?, attempts = ?, code = ?, error = ?, answer = ?, settled_at_ms = ?"
        " WHERE id = ? AND state <> 'done'",
        (state, attempts, code, error, None if answer is None else compact(answer), cloud_ms, number),
    )


def revive(connection: sqlite3.Connection, number: int) -> bool:
    """Make a failed or refused operation pending again. False where it is neither, or was a local change refused.

    A failed one keeps its key: whether the cloud did it is not known, and with the key it is done once. A refused one
    gets a new key, or it would only get its refusal again. A refused local change was rolled back; it is made anew.
    """
    changed = connection.execute(
        "UPDATE operation SET state = 'pending', attempts = 0, next_at_ms = 0, settled_at_ms = NULL, idempotency_key ="
        " CASE state WHEN 'refused' THEN ? ELSE idempotency_key END"
        " WHERE id = ? AND (state = 'failed' OR state = 'refused' AND txn_token IS NULL)",
        (str(uuid.uuid4()), number),
    )
    return changed.rowcount == 1


def forget_old(connection: sqlite3.Connection, cloud_ms: int) -> int:
    """Drop what was done or superseded long ago by the cloud's time; how many.

    What was settled while that was not known counts from now on: neither a clock at 1970 then nor one that is a year
    fast today makes anything look old.
    """
    undated = "UPDATE operation SET settled_at_ms = ? WHERE state IN ('done', 'superseded') AND settled_at_ms IS NULL"
    connection.execute(undated, (cloud_ms,))
    return connection.execute(
        "DELETE FROM operation WHERE state IN ('done', 'superseded') AND settled_at_ms < ?",
        (cloud_ms - KEEP_SETTLED_MS,),
    ).rowcount


def ask(connection: sqlite3.Connection, kind: str, argument: Mapping[str, Any], now_ms: int) -> int:
    """Leave a request for the owner of its kind; its number."""
    cursor = connection.execute(
        "INSERT INTO request (kind, argument, asked_at_ms) VALUES (?, ?, ?)", (kind, compact(argument), now_ms)
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def asked(connection: sqlite3.Connection, kinds: tuple[str, ...]) -> list[tuple[int, str, dict[str, Any]]]:
    """Requests of these kinds that wait for an answer, oldest first: number, kind, argument. A kind has one owner."""
    marks = ", ".join("?" for _ in kinds)
    rows = connection.execute(
        f"SELECT id, kind, argument FROM request WHERE answered_at_ms IS NULL AND kind IN ({marks}) ORDER BY id",  # noqa: S608
        kinds,
    )
    return [(number, kind, json.loads(argument)) for number, kind, argument in rows]


def answer(connection: sqlite3.Connection, number: int, text: str, now_ms: int) -> None:
    """Answer a request. One that has been answered keeps its answer."""
    connection.execute(
        "UPDATE request SET answered_at_ms = ?, answer = ? WHERE id = ? AND answered_at_ms IS NULL",
        (now_ms, text, number),
    )


def answer_to(connection: sqlite3.Connection, number: int) -> str | None:
    """The owner's answer; None while there is none."""
    row = connection.execute("SELECT answer FROM request WHERE id = ?", (number,)).fetchone()
    return row[0] if row else None


def _one(connection: sqlite3.Connection, where: str, *values: Any) -> Operation | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM operation {where}", values).fetchone()  # noqa: S608
    return None if row is None else Operation(*row)
