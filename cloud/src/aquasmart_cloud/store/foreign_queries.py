"""Reading foreign events: pages in order of time, one event, whose there are, how many. Read only.

Pages are taken by key, each in a statement of its own, so that an export of any length needs the memory of one
page and holds no transaction open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.identity import folded

from .database import Database

SENDER_ID = re.compile(r"[a-z0-9_-]{1,64}")
"""What every sender's id looks like, a client's or a station's."""

_COLUMNS = "client_id, event_seq, event_id, at, normalised, warnings, normaliser, received_at"
_SENDERS = "SELECT client_id, last_event FROM intake WHERE client_id >= ? ORDER BY client_id"
_WHERE = " FROM foreign_event WHERE client_id = ? AND at >= ? AND at < ? AND (at, event_seq) > (?, ?)"
_ORDER = " ORDER BY at, event_seq LIMIT ?"
_ONE = f"SELECT {_COLUMNS}, raw FROM foreign_event WHERE client_id = ? AND event_seq = ?"  # noqa: S608  (constants)
_OLD = (
    "SELECT event_seq, raw FROM foreign_event WHERE client_id = ? AND event_seq > ? AND normaliser < ?"
    " ORDER BY event_seq LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of one sender or of all, of a metric or station (compared case-folded), of a time [from, to)."""

    client_id: str | None = None
    metric: str | None = None
    station: str | None = None
    from_ms: int = 0
    to_ms: int = 1 << 62


class Place(NamedTuple):
    """Where a page ended: a sender, and a position in its order of time."""

    client_id: str
    at: int
    event_seq: int

    def text(self) -> str:
        """As a cursor, to be handed back unread."""
        return f"{self.client_id}.{self.at}.{self.event_seq}"

    @classmethod
    def of_text(cls, text: str) -> Place | None:
        """A cursor read back; None where it is none."""
        client_id, *numbers = text.rsplit(".", 2)
        fit = len(numbers) == 2 and all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers)
        return cls(client_id, int(numbers[0]), int(numbers[1])) if fit and SENDER_ID.fullmatch(client_id) else None


def senders(database: Database, first: str = "") -> dict[str, int]:
    """Everyone from id `first` on that has sent foreign events, and how many of them were processed.

    Errors: DatabaseError.
    """
    with database.reading() as connection:
        return {client_id: int(last) for client_id, last in connection.execute(_SENDERS, (first,)).fetchall()}


def page(database: Database, wanted: Wanted, after: Place | None, limit: int) -> list[dict[str, Any]]:
    """The next `limit` events, sender by sender, each in order of time. Errors: DatabaseError."""
    found: list[dict[str, Any]] = []
    for client_id in _senders_wanted(database, wanted, after):
        start = after if after is not None and after.client_id == client_id else Place(client_id, -1, 0)
        found += _of_sender(database, wanted, start, limit - len(found))
        if len(found) >= limit:
            break
    return found


def place_of(event: dict[str, Any]) -> Place:
    """Where a page that ends with this event continues."""
    return Place(event["client_id"], event["at"], event["event_seq"])


def every(database: Database, wanted: Wanted, rows: int = 500) -> Iterator[dict[str, Any]]:
    """All events wanted, a page at a time. Errors: DatabaseError."""
    for client_id in _senders_wanted(database, wanted, None):
        one, after = replace(wanted, client_id=client_id), Place(client_id, -1, 0)
        while found := _of_sender(database, one, after, rows):
            yield from found
            after = place_of(found[-1])


def one(database: Database, client_id: str, event_seq: int) -> tuple[dict[str, Any], str] | None:
    """One event, and what came for it (canonical JSON). Errors: DatabaseError."""
    with database.reading() as connection:
        row = connection.execute(_ONE, (client_id, event_seq)).fetchone()
    return None if row is None else (_event(row[:-1]), str(row[-1]))


def of_older_version(database: Database, client_id: str, after: int, version: int, limit: int) -> list[tuple[int, str]]:
    """Events that an older normaliser read: number and what came. Errors: DatabaseError."""
    with database.reading() as connection:
        return connection.execute(_OLD, (client_id, after, version, limit)).fetchall()


def _senders_wanted(database: Database, wanted: Wanted, after: Place | None) -> list[str]:
    if wanted.client_id is not None:
        return [wanted.client_id]
    return list(senders(database, "" if after is None else after.client_id))


def _of_sender(database: Database, wanted: Wanted, start: Place, limit: int) -> list[dict[str, Any]]:
    filters, values = "", []
    for name in ("metric", "station"):
        value = getattr(wanted, name)
        if value is not None:
            filters += f" AND {name} = ?"
            values.append(folded(value))
    text = f"SELECT {_COLUMNS}{_WHERE}{filters}{_ORDER}"
    span = (start.client_id, wanted.from_ms, wanted.to_ms, start.at, start.event_seq)
    with database.reading() as connection:
        rows = connection.execute(text, (*span, *values, limit)).fetchall()
    return [_event(row) for row in rows]


def _event(row: Any) -> dict[str, Any]:
    client_id, event_seq, event_id, at, normalised, warnings, normaliser, received_at = row
    return {
        "client_id": client_id,
        "event_id": event_id,
        "status": "processed",
        **msgspec.json.decode(normalised),
        "warnings": msgspec.json.decode(warnings),
        "at": at,
        "received_at": received_at,
        "normaliser": normaliser,
        "event_seq": event_seq,
    }
