"""Thresholds of alerts as operators set them, for fleet, group or station. The only writer of `alert_setting`."""

from __future__ import annotations

from typing import Any

from aquasmart_cloud.core.alert_kinds import AlertError
from aquasmart_cloud.core.alerting import Threshold, thresholds_of

from . import alert_watch
from .database import Database

FLEET, GROUP, STATION = "fleet", "group", "station"

_ALL = "SELECT scope, subject, name, value FROM alert_setting ORDER BY scope, subject, name"
_SET = (
    "INSERT INTO alert_setting (scope, subject, name, value, set_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (scope, subject, name) DO UPDATE SET value = excluded.value, set_at = excluded.set_at"
)
_CLEAR = "DELETE FROM alert_setting WHERE scope = ? AND subject = ? AND name = ?"


class Settings:
    """What is set, read once for a whole look."""

    def __init__(self, rows: list[tuple[str, str, str, int]]) -> None:
        self._layers: dict[tuple[str, str], dict[str, int]] = {}
        for scope, subject, name, value in rows:
            self._layers.setdefault((scope, subject), {})[name] = value
        self._known: dict[tuple[str, str], dict[str, Threshold]] = {}

    def thresholds(self, station_id: str = "", group: str = "") -> dict[str, Threshold]:
        """What counts for a station: the fleet's, its group's and its own; the later wins, setting by setting."""
        own = station_id if (STATION, station_id) in self._layers else ""
        place = (group, own)
        if place not in self._known:
            layers = ((FLEET, ""), (GROUP, group), (STATION, own))
            self._known[place] = thresholds_of(self._layers.get(layer, {}) for layer in layers)
        return self._known[place]


def read(database: Database) -> Settings:
    """All of them. Errors: DatabaseError."""
    with database.reading() as connection:
        return Settings(connection.execute(_ALL).fetchall())


def listed(database: Database) -> list[dict[str, Any]]:
    """What was set, for people. Errors: DatabaseError."""
    with database.reading() as connection:
        rows = connection.execute(_ALL).fetchall()
    return [dict(zip(("scope", "subject", "name", "value"), row, strict=True)) for row in rows]


def put(database: Database, scope: str, subject: str, changes: dict[str, int | None], now_ms: int) -> None:
    """Set, or unset with None; acts at the next look, on everything. Errors: AlertError, DatabaseError."""
    with database.writing("") as connection:
        if (
            scope == STATION
            and not connection.execute("SELECT 1 FROM station WHERE station_id = ?", (subject,)).fetchone()
        ):
            raise AlertError(f"there is no station {subject}", "'aquasmart-cloud station list' shows those there are")
        for name, value in changes.items():
            if value is None:
                connection.execute(_CLEAR, (scope, subject, name))
            else:
                connection.execute(_SET, (scope, subject, name, value, now_ms))
        alert_watch.all_due(connection)
