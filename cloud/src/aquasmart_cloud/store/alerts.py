"""Alerts as stored: opening, noting, acknowledging, closing, listing. The only writer of `alert`.

Functions that take a connection are part of a transaction that also writes what is to be told (store.outbox): an alert
changes and is told of, or neither. Opening is refused where one of the same kind and subject is open, closing where it
is closed, whoever was first; what is refused is told to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.alert_kinds import KINDS, WARNING, told
from aquasmart_cloud.core.alerting import Key, Track

from .connection import Connection
from .database import Database

OPEN, ACKNOWLEDGED, CLOSED = "open", "acknowledged", "closed"
STATES = (OPEN, ACKNOWLEDGED, CLOSED)
CURRENT = (OPEN, ACKNOWLEDGED)

_ALERT_ID = re.compile(r"([a-z0-9_-]{1,64})\.([0-9]{1,18})")
_COLUMNS = (
    "station_id, alert_id, kind, subject, state, since_at, opened_at, seen_at, figures, acknowledged_at,"
    " acknowledged_by, closed_at, closed_by, note"
)
_OPEN = (
    "INSERT INTO alert (station_id, alert_id, kind, subject, state, since_at, opened_at, seen_at, figures)"
    " SELECT ?1, (SELECT COALESCE(MAX(alert_id), 0) + 1 FROM alert WHERE station_id = ?1), ?2, ?3, 'open', ?4, ?5, ?5,"
    " ?6 WHERE NOT EXISTS (SELECT 1 FROM alert WHERE station_id = ?1 AND kind = ?2 AND subject = ?3"
    " AND state <> 'closed')"
)
_STANDING = f"SELECT {_COLUMNS} FROM alert WHERE station_id = ? AND kind = ? AND subject = ? AND state <> 'closed'"  # noqa: S608
_NOTE = (
    "UPDATE alert SET seen_at = ?, figures = ? WHERE station_id = ? AND kind = ? AND subject = ? AND state <> 'closed'"
)
_CLOSE = (
    "UPDATE alert SET state = 'closed', closed_at = ?, closed_by = ?, note = COALESCE(?, note)"
    " WHERE station_id = ? AND alert_id = ? AND state <> 'closed'"
)
_ACKNOWLEDGE = (
    "UPDATE alert SET state = 'acknowledged', acknowledged_at = ?, acknowledged_by = ?, note = COALESCE(?, note)"
    " WHERE station_id = ? AND alert_id = ? AND state = 'open'"
)
_ONE = f"SELECT {_COLUMNS} FROM alert WHERE station_id = ? AND alert_id = ?"  # noqa: S608  (constants)
_CURRENT = f"SELECT {_COLUMNS} FROM alert WHERE state <> 'closed'"  # noqa: S608  (constants)
_ANY = f"SELECT {_COLUMNS} FROM alert WHERE state IN (?, ?, ?)"  # noqa: S608  (constants)
_NEWEST_FIRST = " AND (opened_at, station_id, alert_id) < (?, ?, ?) ORDER BY opened_at DESC, station_id DESC,"
_COUNTS = "SELECT kind, state, COUNT(*) FROM alert WHERE state <> 'closed' GROUP BY kind, state"


class Alert(NamedTuple):
    """One alert as stored."""

    station_id: str
    alert_id: int
    kind: str
    subject: str
    state: str
    since_at: int
    opened_at: int
    seen_at: int
    figures: dict[str, Any]
    acknowledged_at: int | None
    acknowledged_by: str | None
    closed_at: int | None
    closed_by: str | None
    note: str | None

    @property
    def name(self) -> str:
        """How it is called everywhere: its owner and a number."""
        return f"{self.station_id}.{self.alert_id}"

    def document(self) -> dict[str, Any]:
        """It in words and figures, for programs and pages. Volumes are µl, times Unix ms."""
        words = told(self.kind, self.subject, self.figures)
        kind = KINDS.get(self.kind)
        found = {name: value for name, value in zip(self._fields, self, strict=True) if name != "alert_id"}
        return found | {
            "alert_id": self.name,
            "severity": kind.severity if kind else WARNING,
            "title": words.title,
            "text": words.text,
            "advice": words.advice,
        }


class Wanted(NamedTuple):
    """Which alerts: '' is any; `states` is what is not closed where it is empty."""

    states: tuple[str, ...] = CURRENT
    kind: str = ""
    station_id: str = ""


class Place(NamedTuple):
    """Where a page ended, newest first."""

    opened_at: int = (1 << 63) - 1
    station_id: str = ""
    alert_id: int = 0

    def text(self) -> str:
        """As a cursor, to be handed back unread."""
        return f"{self.opened_at}.{self.station_id}.{self.alert_id}"

    @classmethod
    def of_text(cls, text: str) -> Place | None:
        """A cursor read back; None where it is none."""
        opened_at, _, name = text.partition(".")
        place = parse_alert_id(name)
        fit = opened_at.isascii() and opened_at.isdigit() and len(opened_at) < 19
        return cls(int(opened_at), *place) if place and fit else None


def parse_alert_id(text: str) -> tuple[str, int] | None:
    """Owner and number of an alert's id, or None where it is none."""
    match = _ALERT_ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]))


def open_one(connection: Connection, owner: str, key: Key, track: Track, now_ms: int) -> Alert | None:
    """Open an alert; None where one of the same kind and subject is open already."""
    values = (owner, *key, track.since_ms, now_ms, _text(track.figures))
    if connection.execute(_OPEN, values).rowcount != 1:
        return None
    return standing(connection, owner, key)


def note(connection: Connection, owner: str, key: Key, track: Track, now_ms: int) -> None:
    """It is still so, perhaps with other figures."""
    connection.execute(_NOTE, (now_ms, _text(track.figures), owner, *key))


def standing(connection: Connection, owner: str, key: Key) -> Alert | None:
    """The alert of this kind and subject that is not closed."""
    row = connection.execute(_STANDING, (owner, *key)).fetchone()
    return None if row is None else _alert(row)


def close(connection: Connection, place: tuple[str, int], by: str, now_ms: int, note: str | None = None) -> bool:
    """Close it; False where it is closed, or unknown."""
    return connection.execute(_CLOSE, (now_ms, by, note, *place)).rowcount == 1


def acknowledge(connection: Connection, place: tuple[str, int], by: str, now_ms: int, note: str | None) -> bool:
    """Somebody has seen it; False where it is not open."""
    return connection.execute(_ACKNOWLEDGE, (now_ms, by, note, *place)).rowcount == 1


def load(connection: Connection, place: tuple[str, int]) -> Alert | None:
    """One alert."""
    row = connection.execute(_ONE, place).fetchone()
    return None if row is None else _alert(row)


def page(connection: Connection, wanted: Wanted, after: Place | None, limit: int) -> list[Alert]:
    """Alerts, newest first, after a place. Those that are not closed have an index of their own: they are few."""
    after = after or Place()
    if set(wanted.states) == set(CURRENT):
        query, values = _CURRENT, list[Any]()
    else:
        query, values = _ANY, [*wanted.states, *[wanted.states[-1]] * (3 - len(wanted.states))]
    for column, value in (("kind", wanted.kind), ("station_id", wanted.station_id)):
        if value:
            query, values = f"{query} AND {column} = ?", [*values, value]
    rows = connection.execute(f"{query}{_NEWEST_FIRST} alert_id DESC LIMIT ?", [*values, *after, limit]).fetchall()
    return [_alert(row) for row in rows]


def counts(connection: Connection) -> Mapping[tuple[str, str], int]:
    """Kind and state → how many, of those that are not closed."""
    return {(kind, state): number for kind, state, number in connection.execute(_COUNTS).fetchall()}


def read_page(database: Database, wanted: Wanted, after: Place | None, limit: int) -> list[Alert]:
    """A page outside a transaction. Errors: DatabaseError."""
    with database.reading() as connection:
        return page(connection, wanted, after, limit)


def _alert(row: Any) -> Alert:
    return Alert._make((*row[:8], msgspec.json.decode(row[8]), *row[9:]))


def _text(figures: Mapping[str, Any]) -> str:
    return msgspec.json.encode(dict(figures)).decode()
