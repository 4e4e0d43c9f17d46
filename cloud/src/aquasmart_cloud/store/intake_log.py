"""The audit trail of foreign events: what was taken, changed, dismissed, and by whom (`processing_log`).

Part of the transaction that did it: a row exists exactly where its deed does. Under the sender's id, in the same
table as the stations' rows; read by people who ask what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from .connection import Connection
from .database import Database

# The sender's `intake` row is locked by then, so that two transactions cannot take the same number.
_LAST = "SELECT COALESCE(MAX(log_id), 0) FROM processing_log WHERE station_id = ?"
_ADD = (
    "INSERT INTO processing_log (station_id, log_id, at, request_id, trace_id, action, detail)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PAGE = (
    "SELECT log_id, at, trace_id, action, detail FROM processing_log WHERE station_id = ? AND log_id < ?"
    " ORDER BY log_id DESC LIMIT ?"
)


_SINCE = "SELECT log_id, at FROM processing_log WHERE station_id = ? AND log_id >= ? ORDER BY log_id LIMIT 1"
_ABOUT = (
    "SELECT log_id, at, trace_id, action, detail FROM processing_log WHERE station_id = ? AND log_id >= ?"
    " AND detail LIKE ? ESCAPE '!' ORDER BY log_id LIMIT 50"
)


@dataclass(frozen=True, slots=True)
class Occasion:
    """When, in which request, and by whom something is done."""

    now_ms: int
    request_id: str
    trace_id: str
    by: str
    """The sender, a person, or `command line`."""


def note(connection: Connection, client_id: str, occasion: Occasion, action: str, detail: dict[str, Any]) -> None:
    """Write one row of the trail."""
    [last] = connection.execute(_LAST, (client_id,)).fetchone()
    text = msgspec.json.encode(detail | {"by": occasion.by}).decode()
    row = (client_id, last + 1, occasion.now_ms, occasion.request_id, occasion.trace_id, action, text)
    connection.execute(_ADD, row)


def trail(database: Database, client_id: str, before: int, limit: int) -> list[dict[str, Any]]:
    """The newest rows of one sender below number `before`. Errors: DatabaseError."""
    with database.reading() as connection:
        rows = connection.execute(_PAGE, (client_id, before, limit)).fetchall()
    return [_entry(row) for row in rows]


def about(database: Database, client_id: str, failed_id: str, received_at: int) -> list[dict[str, Any]]:
    """What the trail says of one failed event since it came, oldest first. Errors: DatabaseError."""
    # An id has letters, digits, hyphens, a dot and underscores, of which only the last mean something to LIKE.
    pattern = f'%"{failed_id.replace("_", "!_")}"%'
    with database.reading() as connection:
        first = _first_since(connection, client_id, received_at)
        return [_entry(row) for row in connection.execute(_ABOUT, (client_id, first, pattern)).fetchall()]


def _first_since(connection: Connection, client_id: str, at: int) -> int:
    """The number of the first entry of that time, found by halving: times grow with the numbers."""
    [last] = connection.execute(_LAST, (client_id,)).fetchone()
    low, high = 0, int(last)
    while low < high:
        middle = (low + high) // 2
        log_id, found_at = connection.execute(_SINCE, (client_id, middle)).fetchone()
        low, high = (low, middle) if found_at >= at else (log_id + 1, high)
    return low


def _entry(row: Any) -> dict[str, Any]:
    names = ("log_id", "at", "trace_id", "action", "detail")
    return dict(zip(names, row[:4], strict=False)) | {"detail": msgspec.json.decode(row[4])}
