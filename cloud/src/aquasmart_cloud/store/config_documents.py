"""Remote configuration: documents of fleet, groups and stations, what counts for each station, and what became of it.

The only writer of `config_document` and `station_config`. A station's own version grows by one whenever the merged
document changes: any difference in version or hash makes the station fetch it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.settings import EMPTY_SHA256, Path, canonical, flatten, merged, nested, sha256_of

from .database import Database

FLEET, GROUP, STATION, POLICY = "fleet", "group", "station", "policy"

_NEWEST = (
    "SELECT version, document, sha256, set_at, set_by FROM config_document WHERE scope = ? AND subject = ?"
    " ORDER BY version DESC LIMIT 1"
)
_INSERT = (
    "INSERT INTO config_document (scope, subject, version, document, sha256, set_at, set_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_HISTORY = (
    "SELECT version, set_at, set_by, sha256, document FROM config_document WHERE scope = ? AND subject = ?"
    " ORDER BY version"
)
_FIND = "SELECT version, sha256, document, set_by, set_at, group_name FROM station_config WHERE station_id = ?"
_PUT = (
    "INSERT INTO station_config (station_id, group_name, version, sha256, document, set_by, set_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station_id) DO UPDATE SET group_name = excluded.group_name,"
    " version = excluded.version, sha256 = excluded.sha256, document = excluded.document,"
    " set_by = excluded.set_by, set_at = excluded.set_at, sent_at = NULL"
)
_SENT = "UPDATE station_config SET sent_at = ? WHERE station_id = ? AND sent_at IS NULL"
_FETCHED = "UPDATE station_config SET fetched_version = ?, fetched_at = ? WHERE station_id = ?"
_REPORTED = (
    "UPDATE station_config SET reported_version = ?, reported_sha256 = ?, result = ?, reasons = ?, reported_at = ?"
    " WHERE station_id = ?"
)
_PROGRESS = (
    "SELECT s.station_id, c.group_name, c.version, c.sha256, c.set_at, c.set_by, c.sent_at, c.fetched_version,"
    " c.fetched_at, c.reported_version, c.reported_sha256, c.result, c.reasons, c.reported_at"
    " FROM station s LEFT JOIN station_config c ON c.station_id = s.station_id ORDER BY s.station_id"
)


class Effective(NamedTuple):
    """What counts for one station."""

    version: int
    sha256: str
    document: dict[str, Any]
    set_by: str
    set_at: int
    group: str


NOTHING = Effective(0, EMPTY_SHA256, {}, "", 0, "")


def effective(connection: sqlite3.Connection, station_id: str) -> Effective:
    """What counts for the station. One look-up by key, but for a station that was added after the fleet's document."""
    row = connection.execute(_FIND, (station_id,)).fetchone()
    if row is not None:
        return Effective(row[0], row[1], msgspec.json.decode(row[2]), row[3], row[4], row[5])
    document, set_by, set_at = _merge(connection, station_id, "")
    return Effective(1, sha256_of(document), document, set_by, set_at, "") if document else NOTHING


def announced(connection: sqlite3.Connection, station_id: str) -> tuple[int, str, bool]:
    """Version and hash for an answer, without the document; and whether this is news that has not been sent yet."""
    row = connection.execute(
        "SELECT version, sha256, sent_at FROM station_config WHERE station_id = ?", (station_id,)
    ).fetchone()
    if row is not None:
        return row[0], row[1], row[2] is None
    found = effective(connection, station_id)
    return found.version, found.sha256, found is not NOTHING


def note_sent(connection: sqlite3.Connection, station_id: str, now_ms: int) -> None:
    """The version has been announced to the station."""
    _materialise(connection, station_id)
    connection.execute(_SENT, (now_ms, station_id))


def note_fetched(connection: sqlite3.Connection, station_id: str, version: int, now_ms: int) -> None:
    """The station has been given this version."""
    _materialise(connection, station_id)
    connection.execute(_FETCHED, (version, now_ms, station_id))


def note_reported(connection: sqlite3.Connection, station_id: str, payload: Mapping[str, Any], now_ms: int) -> None:
    """What the station says has become of a version: applied, refused or rolled-back, with every reason."""
    _materialise(connection, station_id)
    reasons = msgspec.json.encode(payload["reasons"]).decode()
    connection.execute(
        _REPORTED, (payload["version"], payload["sha256"], payload["result"], reasons, now_ms, station_id)
    )


def newest(connection: sqlite3.Connection, scope: str, subject: str) -> dict[str, Any]:
    """The newest document of a scope; empty where there is none."""
    row = connection.execute(_NEWEST, (scope, subject)).fetchone()
    return {} if row is None else msgspec.json.decode(row[1], type=dict[str, Any])


def put(
    connection: sqlite3.Connection, scope: str, subject: str, document: Mapping[str, Any], set_by: str, now_ms: int
) -> int:
    """A new version of a document, and with it what counts for every station that it concerns. Its version."""
    row = connection.execute(_NEWEST, (scope, subject)).fetchone()
    version, sha256 = (0 if row is None else row[0]) + 1, sha256_of(document)
    if row is not None and row[2] == sha256:
        return int(row[0])
    concerned = [] if scope == POLICY else _concerned(connection, scope, subject)
    for station_id in concerned:
        _materialise(connection, station_id)  # what counted until now, before the new document changes it
    connection.execute(_INSERT, (scope, subject, version, canonical(document), sha256, now_ms, set_by))
    for station_id in concerned:
        refresh(connection, station_id, set_by, now_ms)
    return version


def refresh(
    connection: sqlite3.Connection, station_id: str, set_by: str, now_ms: int, *, group: str | None = None
) -> Effective:
    """Merge anew what counts for a station, and number it where it has changed."""
    former = effective(connection, station_id)
    group = former.group if group is None else group
    document, _, _ = _merge(connection, station_id, group)
    sha256 = sha256_of(document)
    if sha256 == former.sha256 and group == former.group:
        return former
    version = former.version + (sha256 != former.sha256)
    values = (station_id, group, version, sha256, canonical(document), set_by, now_ms)
    connection.execute(_PUT, values)
    return Effective(version, sha256, document, set_by, now_ms, group)


def set_one(
    connection: sqlite3.Connection, station_id: str, path: Path, value: Any, set_by: str, now_ms: int
) -> Effective:
    """One setting in the station's own document, as a technician's accepted change leaves it."""
    settings = flatten(newest(connection, STATION, station_id)) | {path: value}
    put(connection, STATION, station_id, nested(settings), set_by, now_ms)
    return effective(connection, station_id)


class Documents:
    """What operators do with documents, for commands and pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(
        self,
        scope: str,
        subject: str,
        changes: Mapping[Path, Any],
        removals: Sequence[Path],
        set_by: str,
        now_ms: int,
    ) -> int:
        """Set and unset single settings; the document's version. Errors: StationError, DatabaseError."""
        with self._database.writing() as connection:
            _require(connection, scope, subject)
            settings = flatten(newest(connection, scope, subject)) | dict(changes)
            left = {path: value for path, value in settings.items() if path not in removals}
            return put(connection, scope, subject, nested(left), set_by, now_ms)

    def replace(self, scope: str, subject: str, document: Mapping[str, Any], set_by: str, now_ms: int) -> int:
        """Set a whole document; its version. Errors: StationError, DatabaseError."""
        with self._database.writing() as connection:
            _require(connection, scope, subject)
            return put(connection, scope, subject, document, set_by, now_ms)

    def join(self, station_id: str, group: str, now_ms: int) -> Effective:
        """Put a station into a group, '' for none. Errors: StationError, DatabaseError."""
        with self._database.writing() as connection:
            _require(connection, STATION, station_id)
            return refresh(connection, station_id, "group", now_ms, group=group)

    def newest(self, scope: str, subject: str) -> dict[str, Any]:
        with self._database.reading() as connection:
            return newest(connection, scope, subject)

    def history(self, scope: str, subject: str) -> list[dict[str, Any]]:
        """Every version of a document, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_HISTORY, (scope, subject)).fetchall()
        return [
            {"version": version, "set_at": set_at, "set_by": set_by, "sha256": sha256, "document": _decoded(document)}
            for version, set_at, set_by, sha256, document in rows
        ]

    def effective(self, station_id: str) -> Effective:
        """What counts for a station. Errors: StationError, DatabaseError."""
        with self._database.reading() as connection:
            _require(connection, STATION, station_id)
            return effective(connection, station_id)

    def progress(self) -> list[dict[str, Any]]:
        """Each station: what counts for it, and how far that has come."""
        with self._database.reading() as connection:
            cursor = connection.execute(_PROGRESS)
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        for each in found:
            each["reasons"] = _decoded(each["reasons"]) if each["reasons"] else []
            each["state"] = state_of(each)
        return found


def progress_of(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a row of `station_config` comes to, for pages: version, state and reasons."""
    if row is None:
        return {"version": 0, "state": "none", "reasons": []}
    reasons = _decoded(row["reasons"]) if row["reasons"] else []
    return {"version": row["version"], "state": state_of(row), "reasons": reasons}


def state_of(row: Mapping[str, Any]) -> str:
    """In one word: none, waiting, sent, received, applied, refused, rolled-back."""
    if not row["version"]:
        return "none"
    if row["reported_version"] == row["version"] and row["reported_sha256"] == row["sha256"]:
        return str(row["result"])
    if row["fetched_version"] == row["version"]:
        return "received"
    return "waiting" if row["sent_at"] is None else "sent"


def _decoded(text: str) -> Any:
    return msgspec.json.decode(text)


def _merge(connection: sqlite3.Connection, station_id: str, group: str) -> tuple[dict[str, Any], str, int]:
    """The merged document, and who set the newest part of it, when."""
    layers = [(FLEET, ""), (GROUP, group), (STATION, station_id)]
    rows = [connection.execute(_NEWEST, layer).fetchone() for layer in layers if layer != (GROUP, "")]
    found = [row for row in rows if row is not None]
    if not found:
        return {}, "", 0
    last = max(found, key=lambda row: row[3])
    return merged(_decoded(row[1]) for row in found), last[4], last[3]


def _materialise(connection: sqlite3.Connection, station_id: str) -> None:
    """Give a station that was added after the fleet's document a row of its own."""
    if connection.execute(_FIND, (station_id,)).fetchone() is None:
        found = effective(connection, station_id)
        values = (station_id, "", found.version, found.sha256, canonical(found.document), found.set_by, found.set_at)
        connection.execute(_PUT, values)


def _concerned(connection: sqlite3.Connection, scope: str, subject: str) -> list[str]:
    if scope == STATION:
        return [subject]
    query, values = "SELECT station_id FROM station ORDER BY station_id", ()
    if scope == GROUP:
        query, values = "SELECT station_id FROM station_config WHERE group_name = ? ORDER BY station_id", (subject,)  # type: ignore[assignment]
    return [row[0] for row in connection.execute(query, values)]


def _require(connection: sqlite3.Connection, scope: str, subject: str) -> None:
    if scope != STATION:
        return
    if connection.execute("SELECT 1 FROM station WHERE station_id = ?", (subject,)).fetchone() is None:
        raise StationError(
            f"there is no station {subject}", "'aquasmart-cloud station list' shows those that there are"
        )
