"""The fleet's size in ops.db, as the cloud said it last: for the first request after a restart. Written by sync."""

from __future__ import annotations

import sqlite3

_KEEP = "INSERT INTO fleet VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET stations = excluded.stations"


def kept_fleet(connection: sqlite3.Connection) -> int:
    """How many stations; 0 where the cloud has never said."""
    found = connection.execute("SELECT stations FROM fleet").fetchone()
    return 0 if found is None else int(found[0])


def keep_fleet(connection: sqlite3.Connection, stations: int) -> None:
    """Keep it durably, within the caller's transaction."""
    connection.execute(_KEEP, (stations,))
