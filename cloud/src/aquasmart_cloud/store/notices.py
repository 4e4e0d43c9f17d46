"""Notices: what an operator says to whoever stands before a station. The only writer of `notice`.

A notice becomes one row for each station it is for, so that sending, fetching and acknowledging are seen per station.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from aquasmart_cloud.core.errors import StationError

from .database import Database

MOST_AT_ONCE = 50

_ADD = (
    "INSERT INTO notice (station_id, number, text, scope, sent_at)"
    " SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ? FROM notice WHERE station_id = ?"
)
_NEWEST = "SELECT COALESCE(MAX(number), 0) FROM notice WHERE station_id = ?"
_AFTER = "SELECT number, text, sent_at FROM notice WHERE station_id = ? AND number > ? ORDER BY number LIMIT ?"
_FETCHED = "UPDATE notice SET fetched_at = ? WHERE station_id = ? AND number > ? AND number <= ? AND fetched_at IS NULL"
_RECEIVED = "UPDATE notice SET received_at = ? WHERE station_id = ? AND number = ? AND received_at IS NULL"
_LIST = (
    "SELECT station_id, number, text, scope, sent_at, fetched_at, received_at FROM notice"
    " ORDER BY sent_at, station_id, number"
)


def newest(connection: sqlite3.Connection, station_id: str) -> int:
    """The number of the station's newest notice, 0 where there is none."""
    return int(connection.execute(_NEWEST, (station_id,)).fetchone()[0])


def after(connection: sqlite3.Connection, station_id: str, number: int) -> list[dict[str, Any]]:
    """The notices above a number, oldest first, at most `MOST_AT_ONCE`."""
    rows = connection.execute(_AFTER, (station_id, number, MOST_AT_ONCE))
    return [{"number": each, "text": text, "sent_at": sent_at} for each, text, sent_at in rows]


def note_fetched(connection: sqlite3.Connection, station_id: str, low: int, high: int, now_ms: int) -> None:
    """The station has been given the notices above `low`, up to `high`."""
    connection.execute(_FETCHED, (now_ms, station_id, low, high))


def note_received(connection: sqlite3.Connection, station_id: str, number: int, now_ms: int) -> bool:
    """The station shows this notice. False where it has none of that number."""
    connection.execute(_RECEIVED, (now_ms, station_id, number))
    row = connection.execute("SELECT 1 FROM notice WHERE station_id = ? AND number = ?", (station_id, number))
    return row.fetchone() is not None


def send(database: Database, text: str, *, stations: list[str] | None, group: str | None, now_ms: int) -> list[str]:
    """A notice for all stations, those of a group, or some: their ids. Errors: StationError, DatabaseError."""
    scope, query, values = "all", "SELECT station_id FROM station WHERE state <> 'retired'", ()
    with database.writing() as connection:
        if group is not None:
            scope, query = f"group {group}", "SELECT station_id FROM station_config WHERE group_name = ?"
            values = (group,)  # type: ignore[assignment]
        found = [row[0] for row in connection.execute(query, values)]
        if stations is not None:
            scope, unknown = "station", sorted(set(stations) - set(found))
            if unknown:
                raise StationError(
                    f"no such station: {', '.join(unknown)}", "'aquasmart-cloud station list' shows them"
                )
            found = stations
        if not found:
            raise StationError("there is no station to send it to", "'aquasmart-cloud station group' makes groups")
        for station_id in sorted(found):
            connection.execute(_ADD, (station_id, text, scope, now_ms, station_id))
    return sorted(found)


def listed(database: Database) -> list[dict[str, Any]]:
    """Every notice per station: sent, fetched, received."""
    with database.reading() as connection:
        cursor = connection.execute(_LIST)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
