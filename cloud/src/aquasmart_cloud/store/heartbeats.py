"""Heartbeats: the last thing each station said of itself. The only writer of `heartbeat`.

It also notes on the station's row that it was heard, which is no total.
"""

from __future__ import annotations

from .connection import Connection
from .database import Database

_KEEP = (
    "INSERT INTO heartbeat (station_id, received_at, document) VALUES (?, ?, ?)"
    " ON CONFLICT (station_id) DO UPDATE SET received_at = excluded.received_at, document = excluded.document"
)
_SEEN = "UPDATE station SET last_seen_at = ? WHERE station_id = ?"


def keep(database: Database, station_id: str, payload: str, received_at: int) -> None:
    """Keep a heartbeat's payload, JSON as sent. Errors: DatabaseError, nothing stored."""

    def write(connection: Connection) -> None:
        connection.execute(_KEEP, (station_id, received_at, payload))
        connection.execute(_SEEN, (received_at, station_id))

    database.write(write, station_id)
