"""What the fleet page reads: every station with its state, volume, backlog and last hour.

Read queries only, from rollups, heartbeats and the stations' own counters, never from batches: a constant
number of queries however many stations there are. Volumes are integers in µl, times Unix ms (UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Subquery, and_, func, select

from . import schema

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ONLINE_WITHIN_MS = 150_000
LATE_WITHIN_MS = 15 * MINUTE_MS
SHOWN_MINUTES = 60
ATTENTION = {"offline": 0, "late": 1, "online": 2, "never": 3, "retired": 4}


def state_of(stored: str, last_seen_at: int | None, now_ms: int) -> str:
    """online (heard within 150 s: two heartbeats and a half), late (15 min), offline, never, retired."""
    if stored == "retired":
        return "retired"
    if last_seen_at is None:
        return "never"
    silent_ms = now_ms - last_seen_at
    if silent_ms <= ONLINE_WITHIN_MS:
        return "online"
    return "late" if silent_ms <= LATE_WITHIN_MS else "offline"


def heartbeat_payload(document: str | None) -> Mapping[str, Any]:
    """What the station last said of itself; empty when it said nothing readable."""
    try:
        decoded = msgspec.json.decode(document or "{}")
    except msgspec.DecodeError:
        return {}
    payload = decoded.get("payload", decoded) if isinstance(decoded, dict) else {}
    return payload if isinstance(payload, dict) else {}


def whole(value: object) -> int | None:
    """A count that a heartbeat claims: an integer from 0, or nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def word(value: object) -> str | None:
    """A word that a heartbeat claims, or nothing."""
    return value if isinstance(value, str) and value else None


def read_fleet(connection: Connection, now_ms: int) -> dict[str, Any]:
    """The document of `GET /api/fleet`: stations that need attention first, then by name."""
    minutes = _minutes(connection, now_ms)
    today = _today(connection, now_ms)
    differences = _open_differences(connection)
    rows = connection.execute(
        select(schema.station, schema.heartbeat.c.document).outerjoin(
            schema.heartbeat, schema.heartbeat.c.station_id == schema.station.c.station_id
        )
    )
    stations = [_station(row, now_ms, minutes, today, differences) for row in rows.all()]
    stations.sort(key=lambda station: (ATTENTION[station["state"]], station["name"], station["station_id"]))
    summed = ("volume_ul", "today_ul", "last_minute_ul", "events", "open_differences")
    return {
        "server_time": now_ms,
        **{name: sum(station[name] for station in stations) for name in summed},
        "pending": sum(station["pending"] or 0 for station in stations),
        "stations": stations,
    }


def _station(
    row: Row[Any],
    now_ms: int,
    minutes: Mapping[str, list[list[int]]],
    today: Mapping[str, int],
    differences: Mapping[str, int],
) -> dict[str, Any]:
    payload = heartbeat_payload(row.document)
    last_full_minute = now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS
    recent = minutes.get(row.station_id, [])
    return {
        "station_id": row.station_id,
        "name": row.name or row.station_id,
        "state": state_of(row.state, row.last_seen_at, now_ms),
        "last_seen_at": row.last_seen_at,
        "software": word(payload.get("software")),
        "clock": word(payload.get("clock")),
        "pending": whole(payload.get("pending")),
        "oldest_pending_s": whole(payload.get("oldest_pending_s")),
        "volume_ul": row.volume_ul,
        "today_ul": today.get(row.station_id, 0),
        "last_minute_ul": next((volume for at, volume in reversed(recent) if at == last_full_minute), 0),
        "events": row.events,
        "open_differences": differences.get(row.station_id, 0),
        "minutes": recent,
    }


def _meters() -> Subquery:
    """Every meter there has been. From here each meter's rollups are one seek in their key, however old the fleet."""
    epoch = schema.epoch.c
    return select(epoch.station_id, epoch.meter_id).distinct().subquery("meter")


def _minutes(connection: Connection, now_ms: int) -> Mapping[str, list[list[int]]]:
    """Per station the minutes of the last hour in which water flowed, oldest first.

    Meters are added up here, and the rows are the driver's own tuples: sorting in the database, and SQLAlchemy's row
    for each of a large fleet's minutes, were two thirds of what the page cost.
    """
    meter, rollup = _meters(), schema.rollup
    since = now_ms // MINUTE_MS * MINUTE_MS - (SHOWN_MINUTES - 1) * MINUTE_MS
    rows = connection.execute(
        select(rollup.c.station_id, rollup.c.bucket_at, rollup.c.volume_ul)
        .select_from(meter)
        .join(
            rollup,
            and_(
                rollup.c.station_id == meter.c.station_id,
                rollup.c.meter_id == meter.c.meter_id,
                rollup.c.grain == "minute",
                rollup.c.bucket_at >= since,
            ),
        )
    )
    cursor: Any = rows.cursor
    found: defaultdict[str, list[list[int]]] = defaultdict(list)
    for station_id, bucket_at, volume_ul in cursor.fetchall():
        if volume_ul:
            found[station_id].append([bucket_at, volume_ul])
    rows.close()
    return {station_id: _added_up(minutes) for station_id, minutes in found.items()}


def _added_up(minutes: list[list[int]]) -> list[list[int]]:
    """Oldest first, those of several meters as one."""
    minutes.sort()
    if len({at for at, _ in minutes}) == len(minutes):  # one meter, as most stations have
        return minutes
    totals: defaultdict[int, int] = defaultdict(int)
    for at, volume_ul in minutes:
        totals[at] += volume_ul
    return [[at, volume_ul] for at, volume_ul in totals.items()]


def _today(connection: Connection, now_ms: int) -> Mapping[str, int]:
    """Per station the volume since midnight UTC."""
    meter, rollup = _meters(), schema.rollup
    rows = connection.execute(
        select(rollup.c.station_id, func.sum(rollup.c.volume_ul))
        .select_from(meter)
        .join(
            rollup,
            and_(
                rollup.c.station_id == meter.c.station_id,
                rollup.c.meter_id == meter.c.meter_id,
                rollup.c.grain == "day",
                rollup.c.bucket_at == now_ms // DAY_MS * DAY_MS,
            ),
        )
        .group_by(rollup.c.station_id)
    )
    return {station_id: int(volume_ul) for station_id, volume_ul in rows.all()}


def _open_differences(connection: Connection) -> Mapping[str, int]:
    entry = schema.ledger_entry.c
    rows = connection.execute(
        select(entry.station_id, func.count()).where(entry.state == "open").group_by(entry.station_id)
    )
    return {station_id: int(number) for station_id, number in rows}
