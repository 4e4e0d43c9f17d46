"""Operations and their idempotency keys: the only writer of `operation`.

Done once, whatever is repeated, in three steps. `claim` takes the key in a transaction of its own, so that a second
request with it finds it taken. The work and the answer are one further transaction (`finish`), which ends only if the
claim is still ours. A process that dies in between leaves a claim without an effect: after `CLAIM_MS` the next repeat
takes it over. A process that was only slow finds its claim gone, and its work rolled back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.operations import KEPT_MS, Operation
from aquasmart_cloud.core.problems import Refusal

from .connection import Connection
from .database import Database

CLAIM_MS = 30_000

_FIND = (
    "SELECT fingerprint, state, claimed_at, status, answer, request_id, received_at FROM operation"
    " WHERE station_id = ? AND idempotency_key = ?"
)
_INSERT = (
    "INSERT INTO operation (station_id, idempotency_key, type, fingerprint, state, claim, claimed_at, received_at,"
    " request_id, trace_id, payload) VALUES (?, ?, ?, ?, 'working', ?, ?, ?, ?, ?, ?)"
)
_TAKE_OVER = "UPDATE operation SET claim = ?, claimed_at = ? WHERE station_id = ? AND idempotency_key = ?"
_FINISH = (
    "UPDATE operation SET state = 'done', status = ?, answer = ?"
    " WHERE station_id = ? AND idempotency_key = ? AND claim = ? AND state = 'working'"
)
_RELEASE = "DELETE FROM operation WHERE station_id = ? AND idempotency_key = ? AND claim = ? AND state = 'working'"
_FORGET = "DELETE FROM operation WHERE station_id = ? AND received_at < ?"
_OLD = "SELECT DISTINCT station_id FROM operation WHERE received_at < ? ORDER BY station_id LIMIT ?"
_LIST = (
    "SELECT received_at, type, state, status, idempotency_key, trace_id, payload, answer FROM operation"
    " WHERE station_id = ? ORDER BY received_at DESC, idempotency_key LIMIT ?"
)


class Claim(NamedTuple):
    """A key that is ours to work on."""

    station_id: str
    idempotency_key: str
    mark: str
    """Fresh for each claim; the request id of whoever works."""


class FirstAnswer(NamedTuple):
    """What this key was answered the first time."""

    status: int
    document: dict[str, Any]
    request_id: str


def claim(
    database: Database, station_id: str, key: str, operation: Operation, fingerprint: str, request_id: str, now_ms: int
) -> Claim | FirstAnswer:
    """Take the key, or learn what it was answered.

    Errors: Refusal `idempotency-key-reused` for another body, `operation-in-progress` while another works on it.
    """
    payload = msgspec.json.encode(operation.payload).decode()
    with database.writing() as connection:
        connection.execute(_FORGET, (station_id, now_ms - KEPT_MS))
        row = connection.execute(_FIND, (station_id, key)).fetchone()
        if row is None:
            name = operation.kind.name
            values = (station_id, key, name, fingerprint, request_id, now_ms, now_ms, request_id)
            connection.execute(_INSERT, (*values, operation.trace_id, payload))
            return Claim(station_id, key, request_id)
        known, state, claimed_at, status, answer, first_request, _ = row
        if known != fingerprint:
            raise Refusal(
                "idempotency-key-reused", f"key {key} stands for another request; an edited one needs its own"
            )
        if state == "done":
            return FirstAnswer(status, msgspec.json.decode(answer), first_request)
        if now_ms - claimed_at < CLAIM_MS:
            raise Refusal("operation-in-progress", f"key {key} is being worked on", retry_after_s=2)
        connection.execute(_TAKE_OVER, (request_id, now_ms, station_id, key))
        return Claim(station_id, key, request_id)


def finish(connection: Connection, held: Claim, status: int, document: dict[str, Any]) -> None:
    """Keep the answer, within the transaction that did the work.

    Errors: Refusal `operation-in-progress` where the claim was taken over: the caller's work is rolled back with it.
    """
    answer = msgspec.json.encode(document).decode()
    changed = connection.execute(_FINISH, (status, answer, held.station_id, held.idempotency_key, held.mark))
    if changed.rowcount != 1:
        raise Refusal("operation-in-progress", "another request has taken this over", retry_after_s=2)


def release(database: Database, held: Claim) -> None:
    """Give the key back undone: nothing was stored, and a repeat begins anew."""
    with database.writing() as connection:
        connection.execute(_RELEASE, (held.station_id, held.idempotency_key, held.mark))


def forget_old(database: Database, now_ms: int, stations: int = 100) -> tuple[int, int]:
    """Forget keys older than KEPT_MS, of so many stations at most; (keys, stations). Errors: DatabaseError.

    A request with a key that is this old is a new one (docs/protocol.md §7).
    """
    keys, before = 0, now_ms - KEPT_MS
    with database.reading() as connection:
        found = [station_id for (station_id,) in connection.execute(_OLD, (before, stations)).fetchall()]
    for station_id in found:
        with database.writing(station_id) as connection:
            keys += connection.execute(_FORGET, (station_id, before)).rowcount
    return keys, len(found)


def listed(database: Database, station_id: str, limit: int = 100) -> list[dict[str, Any]]:
    """The latest operations of a station, newest first."""
    with database.reading() as connection:
        rows = connection.execute(_LIST, (station_id, limit)).fetchall()
    names = ("received_at", "type", "state", "status", "idempotency_key", "trace_id")
    return [
        dict(zip(names, row, strict=False))
        | {
            "payload": msgspec.json.decode(row[6]),
            "answer": None if row[7] is None else msgspec.json.decode(row[7]),
        }
        for row in rows
    ]
