"""Foreign events that could not be processed (`failed_event`): keeping, showing, closing. This table's one writer.

Functions that take a connection are part of the intake transaction. One body fails once: the unique hash of what
came makes its repetition find the same row.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.normalising.incoming import Incoming

from . import foreign_queries
from .connection import Connection
from .database import Database

OPEN, PROCESSED, DISMISSED = "open", "processed", "dismissed"
STATES = (OPEN, PROCESSED, DISMISSED)

_FAILED_ID = re.compile(r"([a-z0-9_-]{1,64})\.([0-9]{1,18})")
_COLUMNS = (
    "client_id, failed_seq, raw, edited, code, errors, warnings, normaliser, state, received_at, closed_at,"
    " closed_by, reason, event_seq"
)
_BY_RAW = "SELECT failed_seq, state FROM failed_event WHERE client_id = ? AND raw_hash = ?"
_ADD = (
    "INSERT INTO failed_event (client_id, failed_seq, raw_hash, raw, code, errors, warnings, normaliser, state,"
    " received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)"
)
_SHOW = f"SELECT {_COLUMNS} FROM failed_event WHERE client_id = ? AND failed_seq = ?"  # noqa: S608  (constants)
_PAGE = (
    f"SELECT {_COLUMNS} FROM failed_event WHERE client_id = ? AND failed_seq > ? AND received_at >= ?"  # noqa: S608
    " AND received_at < ? AND state IN (?, ?, ?) ORDER BY failed_seq LIMIT ?"
)
_WAITING = (
    f"SELECT {_COLUMNS} FROM failed_event WHERE client_id = ? AND state = 'open' AND failed_seq > ?"  # noqa: S608
    " AND normaliser < ? ORDER BY failed_seq LIMIT ?"
)
_CLOSE = (
    "UPDATE failed_event SET state = ?, closed_at = ?, closed_by = ?, reason = ?, event_seq = ?, edited = ?"
    " WHERE client_id = ? AND failed_seq = ?"
)
_STILL = (
    "UPDATE failed_event SET edited = ?, code = ?, errors = ?, warnings = ?, normaliser = ?"
    " WHERE client_id = ? AND failed_seq = ?"
)
_COUNTS = "SELECT client_id, state, COUNT(*) FROM failed_event GROUP BY client_id, state"


class Failed(NamedTuple):
    """One failed event as stored; `raw` is what came, `edited` what somebody made of it, both canonical JSON."""

    client_id: str
    failed_seq: int
    raw: str
    edited: str | None
    code: str
    errors: list[dict[str, str]]
    warnings: list[str]
    normaliser: int
    state: str
    received_at: int
    closed_at: int | None
    closed_by: str | None
    reason: str | None
    event_seq: int | None

    @property
    def failed_id(self) -> str:
        return failed_id(self.client_id, self.failed_seq)


def failed_id(client_id: str, failed_seq: int) -> str:
    """How a failed event is called, everywhere: its sender and a number."""
    return f"{client_id}.{failed_seq}"


def parse_failed_id(text: str) -> tuple[str, int] | None:
    """Sender and number of a failed event's id, or None where it is none."""
    match = _FAILED_ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]))


def by_raw(connection: Connection, client_id: str, raw_hash: bytes) -> tuple[int, str] | None:
    """Number and state of the failure of exactly this body, or None."""
    row = connection.execute(_BY_RAW, (client_id, raw_hash)).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


def add(connection: Connection, client_id: str, failed_seq: int, came: Incoming, why: Reason, now_ms: int) -> None:
    """Keep an event that failed."""
    warnings = _text(list(came.outcome.warnings))
    row = (client_id, failed_seq, came.raw_hash, came.raw, why.code, _text(why.errors), warnings, came.version, now_ms)
    connection.execute(_ADD, row)


class End(NamedTuple):
    """How a failure ended: it became an event, or somebody dismissed it with a reason."""

    state: str
    closed_at: int
    closed_by: str
    reason: str | None = None
    event_seq: int | None = None
    edited: str | None = None


class Reason(NamedTuple):
    """Why an event is not processed, for whoever sent it."""

    code: str
    errors: list[dict[str, str]]


def close(
    connection: Connection,
    place: tuple[str, int],
    end: End,
) -> None:
    """Close a failure for good."""
    connection.execute(_CLOSE, (*end, *place))


def keep_open(connection: Connection, place: tuple[str, int], edited: str | None, came: Incoming, why: Reason) -> None:
    """It was tried again and failed again: remember the edited form, the reason and the version that tried."""
    warnings = _text(list(came.outcome.warnings))
    connection.execute(_STILL, (edited, why.code, _text(why.errors), warnings, came.version, *place))


def load(connection: Connection, place: tuple[str, int]) -> Failed | None:
    """One failed event."""
    row = connection.execute(_SHOW, place).fetchone()
    return None if row is None else _failed(row)


def show(database: Database, place: tuple[str, int]) -> Failed | None:
    """One failed event. Errors: DatabaseError."""
    with database.reading() as connection:
        return load(connection, place)


def page(
    database: Database, client_id: str, after: int, span_ms: tuple[int, int], state: str, limit: int
) -> list[Failed]:
    """A sender's failures after number `after`, received within the span; '' is any state. Errors: DatabaseError."""
    wanted = (state, state, state) if state else STATES
    values = (client_id, after, *span_ms, *wanted, limit)
    with database.reading() as connection:
        return [_failed(row) for row in connection.execute(_PAGE, values).fetchall()]


def pages(
    database: Database, client_id: str, after: tuple[str, int], span_ms: tuple[int, int], state: str, limit: int
) -> list[Failed]:
    """The next failures of one sender, or for '' of all, after one seen before. Errors: DatabaseError."""
    found: list[Failed] = []
    for sender in [client_id] if client_id else foreign_queries.senders(database, after[0]):
        start = after[1] if sender == after[0] else 0
        found += page(database, sender, start, span_ms, state, limit - len(found))
        if len(found) >= limit:
            break
    return found


def waiting(database: Database, client_id: str, after: int, below_version: int, limit: int) -> list[Failed]:
    """A sender's open failures that no normaliser of `below_version` or later has tried. Errors: DatabaseError."""
    with database.reading() as connection:
        rows = connection.execute(_WAITING, (client_id, after, below_version, limit)).fetchall()
    return [_failed(row) for row in rows]


def counts(database: Database) -> dict[str, dict[str, int]]:
    """Per sender, how many failures are in each state. Errors: DatabaseError."""
    found: dict[str, dict[str, int]] = {}
    with database.reading() as connection:
        for client_id, state, number in connection.execute(_COUNTS).fetchall():
            found.setdefault(client_id, {})[state] = int(number)
    return found


def _failed(row: Any) -> Failed:
    errors, warnings = msgspec.json.decode(row[5]), msgspec.json.decode(row[6])
    return Failed._make((*row[:5], errors, warnings, *row[7:]))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
