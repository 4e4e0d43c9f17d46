"""Key rotation, the cloud's half (docs/protocol.md §7). The only writer of `key_rotation`.

Announced in every signed answer until the new key's first use; the station's first nonce counts for ever. Whatever is
repeated, and wherever the power goes, both sides derive the same key from the same two nonces.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.problems import Refusal

from .database import Database

_OPEN = (
    "SELECT key_id, nonce, base_key_id, station_nonce FROM key_rotation WHERE station_id = ? AND confirmed_at IS NULL"
)
_FIND = "SELECT nonce, base_key_id, station_nonce FROM key_rotation WHERE station_id = ? AND key_id = ?"
_OFFER = "INSERT INTO key_rotation (station_id, key_id, nonce, offered_at) VALUES (?, ?, ?, ?)"
_KEEP_FIRST = (
    "UPDATE key_rotation SET base_key_id = ?, station_nonce = ?, answered_at = ?"
    " WHERE station_id = ? AND key_id = ? AND station_nonce IS NULL"
)
_CONFIRM = "UPDATE key_rotation SET confirmed_at = ? WHERE station_id = ? AND key_id = ? AND confirmed_at IS NULL"
_LIST = (
    "SELECT station_id, key_id, base_key_id, offered_at, answered_at, confirmed_at FROM key_rotation"
    " WHERE station_id = ? ORDER BY offered_at, key_id"
)


class Offer(NamedTuple):
    """A rotation that has not been confirmed."""

    key_id: str
    nonce: str
    answered: bool


class Agreed(NamedTuple):
    """What both sides derive the new key from."""

    base_key_id: str
    cloud_nonce: str
    station_nonce: str


def pending(connection: sqlite3.Connection, station_id: str) -> Offer | None:
    """The rotation that is announced to this station."""
    row = connection.execute(_OPEN, (station_id,)).fetchone()
    return None if row is None else Offer(row[0], row[1], row[3] is not None)


def confirm(connection: sqlite3.Connection, station_id: str, key_id: str, now_ms: int) -> None:
    """The new key has been used: it is announced no longer."""
    connection.execute(_CONFIRM, (now_ms, station_id, key_id))


def agree(
    connection: sqlite3.Connection, station_id: str, key_id: str, base_key_id: str, nonce: str, now_ms: int
) -> Agreed:
    """Keep the station's nonce, unless there is one already: the first counts. Errors: Refusal `not-found`."""
    connection.execute(_KEEP_FIRST, (base_key_id, nonce, now_ms, station_id, key_id))
    row = connection.execute(_FIND, (station_id, key_id)).fetchone()
    if row is None:
        raise Refusal("not-found", f"no key {key_id} has been offered")
    return Agreed(row[1], row[0], row[2])


def offer(database: Database, station_id: str, next_key_id: Callable[[sqlite3.Connection], str], now_ms: int) -> Offer:
    """Offer a station a new key; the same offer again while one is open. Errors: StationError."""
    with database.writing() as connection:
        if connection.execute("SELECT 1 FROM station WHERE station_id = ?", (station_id,)).fetchone() is None:
            raise StationError(
                f"there is no station {station_id}", "'aquasmart-cloud station list' shows those that there are"
            )
        found = pending(connection, station_id)
        if found is None:
            found = Offer(next_key_id(connection), secrets.token_hex(32), answered=False)
            connection.execute(_OFFER, (station_id, found.key_id, found.nonce, now_ms))
    return found


def listed(database: Database, station_id: str) -> list[dict[str, Any]]:
    """Every rotation of a station, oldest first; no nonce."""
    with database.reading() as connection:
        cursor = connection.execute(_LIST, (station_id,))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
