"""Roll-outs for people and for alerts: lists, progress per station. Reads only; what they mean is core.rollouts."""

from __future__ import annotations

from typing import Any

from aquasmart_cloud.core.rollouts import BAD, GOOD, ITSELF, Window

from .connection import Connection
from .database import Database
from .rollouts import RolloutError

MOST = 200
MOST_STATIONS = 5_000

_ROLLOUT = (
    "SELECT r.rollout_id, r.sha256, r.group_name, r.window_from, r.window_to, r.time_zone, r.stage, r.state,"
    " r.started_at, r.started_by, r.changed_at, r.changed_by, r.reason, b.version, b.number, b.compatible,"
    " b.size_bytes FROM rollout r JOIN bundle b ON b.sha256 = r.sha256"
)
_LIST = f"{_ROLLOUT} ORDER BY r.rollout_id DESC LIMIT ?"
_ONE = f"{_ROLLOUT} WHERE r.rollout_id = ?"
_COUNTS = "SELECT rollout_id, state, COUNT(*) FROM rollout_station WHERE rollout_id >= ? GROUP BY rollout_id, state"
_STATIONS = (
    "SELECT station_id, canary, state, version, number, detail, at, offered_at, reported_at FROM rollout_station"
    " WHERE rollout_id = ? ORDER BY canary DESC, station_id LIMIT ?"
)
_BY_THEMSELVES = (
    "SELECT rollout_id, changed_at, reason FROM rollout WHERE state = 'stopped' AND changed_by = ? ORDER BY rollout_id"
)
_NAMES = ("station_id", "canary", "state", "version", "number", "detail", "at", "offered_at", "reported_at")


def listed(database: Database) -> list[dict[str, Any]]:
    """The latest roll-outs, newest first, each with how many stations stand where. Errors: DatabaseError."""
    with database.reading() as connection:
        rows = connection.execute(_LIST, (MOST,)).fetchall()
        counts = _counts(connection, min((row[0] for row in rows), default=0)) if rows else {}
    return [_document(row, counts.get(row[0], {})) for row in rows]


def shown(database: Database, rollout_id: int) -> dict[str, Any]:
    """One with every station of it, canaries first. Errors: RolloutError, DatabaseError."""
    with database.reading() as connection:
        row = connection.execute(_ONE, (rollout_id,)).fetchone()
        if row is None:
            raise RolloutError(
                f"there is no roll-out {rollout_id}", "'aquasmart-cloud rollout list' shows those there are"
            )
        counts = _counts(connection, rollout_id).get(rollout_id, {})
        stations = connection.execute(_STATIONS, (rollout_id, MOST_STATIONS)).fetchall()
    found = [dict(zip(_NAMES, each, strict=True)) | {"canary": bool(each[1])} for each in stations]
    return _document(row, counts) | {"stations": found}


def stopped_by_themselves(connection: Connection) -> list[tuple[int, int, str]]:
    """Number, time and reason of those that a canary stopped, and that nobody has seen to since."""
    return [(row[0], row[1], row[2]) for row in connection.execute(_BY_THEMSELVES, (ITSELF,)).fetchall()]


def _counts(connection: Connection, least: int) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for rollout_id, state, number in connection.execute(_COUNTS, (least,)).fetchall():
        found.setdefault(rollout_id, {})[state or "not-begun"] = number
    return found


def _document(row: Any, counts: dict[str, int]) -> dict[str, Any]:
    window = Window(row[3], row[4])
    return {
        "rollout_id": row[0],
        "bundle": {
            "sha256": row[1], "version": row[13], "number": row[14], "compatible": row[15], "size_bytes": row[16],
        },
        "group": row[2],
        "window": window.document(),
        "time_zone": row[5],
        "stage": row[6],
        "state": row[7],
        "started_at": row[8],
        "started_by": row[9],
        "changed_at": row[10],
        "changed_by": row[11],
        "reason": row[12],
        "counts": counts,
        "total": sum(counts.values()),
        "good": counts.get(GOOD, 0),
        "bad": sum(number for state, number in counts.items() if state in BAD),
    }  # fmt: skip
