"""What the station page reads: one station's figures, books, streams, notable events and keys.

Read queries only; each list has a fixed limit, latest first. Volumes are integers in µl, times Unix ms (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from aquasmart_cloud.core.model import Scale

from . import schema, schema_remote
from .config_documents import progress_of
from .fleet import DAY_MS, MINUTE_MS, heartbeat_payload, state_of, whole, word

SHOWN_MINUTES = 6 * 60
SHOWN_STREAMS = 20
SHOWN_INTERVALS = 40
SHOWN_DIFFERENCES = 100
SHOWN_NOTABLE = 60


_CONFIG = "config_"


def _config_columns() -> list[Any]:
    """Those of `station_config`, told apart from a heartbeat's."""
    return [column.label(_CONFIG + column.name) for column in schema_remote.station_config.c]


def read_station(connection: Connection, station_id: str, now_ms: int) -> dict[str, Any] | None:
    """The document of `GET /api/stations/{id}`; None for a station that the cloud does not know."""
    config = schema_remote.station_config
    row = connection.execute(
        select(schema.station, schema.heartbeat.c.document, schema.heartbeat.c.received_at, *_config_columns())
        .outerjoin(schema.heartbeat, schema.heartbeat.c.station_id == schema.station.c.station_id)
        .outerjoin(config, config.c.station_id == schema.station.c.station_id)
        .where(schema.station.c.station_id == station_id)
    ).first()
    if row is None:
        return None
    minutes = _minutes(connection, station_id, now_ms)
    last_full_minute = now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS
    return {
        "server_time": now_ms,
        "station_id": row.station_id,
        "name": row.name or row.station_id,
        "state": state_of(row.state, row.last_seen_at, now_ms),
        "created_at": row.created_at,
        "last_seen_at": row.last_seen_at,
        "hardware_id": row.hardware_id,
        "volume_ul": row.volume_ul,
        "disputed_ul": row.disputed_ul,
        "today_ul": _today(connection, station_id, now_ms),
        "last_minute_ul": sum(volume for at, volume in minutes if at == last_full_minute),
        "events": row.events,
        "open_differences": _open_differences(connection, station_id),
        "heartbeat_at": row.received_at,
        **_said(heartbeat_payload(row.document)),
        "minutes": minutes,
        "differences": _differences(connection, station_id),
        "intervals": _intervals(connection, station_id),
        "streams": _streams(connection, station_id),
        "notable": _notable(connection, station_id),
        "keys": _keys(connection, station_id),
        "config": _config(row._asdict()),
    }


def _config(row: Mapping[str, Any]) -> dict[str, Any]:
    """How far the configuration that counts for the station has come."""
    found = {column.name: row[_CONFIG + column.name] for column in schema_remote.station_config.c}
    return progress_of(found if found["station_id"] is not None else None)


def _said(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the station last said of itself; a claim of the wrong form is as if it had not been made."""
    return {
        "station_state": word(payload.get("state")),
        "software": word(payload.get("software")),
        "clock": word(payload.get("clock")),
        "uptime_s": whole(payload.get("uptime_s")),
        "pending": whole(payload.get("pending")),
        "oldest_pending_s": whole(payload.get("oldest_pending_s")),
        "meters": _meters(payload.get("meters")),
    }


def _meters(claimed: object) -> list[dict[str, Any]]:
    """The meters that the heartbeat lists; what is not shaped as one is left out."""
    listed = claimed if isinstance(claimed, list) else []
    named = [meter for meter in listed if isinstance(meter, dict) and word(meter.get("meter_id"))]
    return [
        {
            "meter_id": meter["meter_id"],
            "state": word(meter.get("state")),
            "counts": whole(meter.get("counts")),
        }
        for meter in named
    ]


def _minutes(connection: Connection, station_id: str, now_ms: int) -> list[list[int]]:
    rollup = schema.rollup.c
    since = now_ms // MINUTE_MS * MINUTE_MS - (SHOWN_MINUTES - 1) * MINUTE_MS
    rows = connection.execute(
        select(rollup.bucket_at, func.sum(rollup.volume_ul))
        .where(rollup.station_id == station_id, rollup.grain == "minute", rollup.bucket_at >= since)
        .group_by(rollup.bucket_at)
        .order_by(rollup.bucket_at)
    )
    return [[bucket_at, int(volume_ul)] for bucket_at, volume_ul in rows if volume_ul]


def _today(connection: Connection, station_id: str, now_ms: int) -> int:
    rollup = schema.rollup.c
    total = connection.execute(
        select(func.sum(rollup.volume_ul)).where(
            rollup.station_id == station_id,
            rollup.grain == "day",
            rollup.bucket_at == now_ms // DAY_MS * DAY_MS,
        )
    ).scalar()
    return int(total or 0)


def _open_differences(connection: Connection, station_id: str) -> int:
    entry = schema.ledger_entry.c
    query = select(func.count()).where(entry.station_id == station_id, entry.state == "open")
    return int(connection.execute(query).scalar_one())


def _differences(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    """Open ones first, then what was explained or closed, latest first."""
    entry = schema.ledger_entry.c
    rows = connection.execute(
        select(schema.ledger_entry)
        .where(entry.station_id == station_id)
        .order_by(case((entry.state == "open", 0), else_=1), entry.opened_at.desc(), entry.entry_id)
        .limit(SHOWN_DIFFERENCES)
    ).mappings()
    return [{**row, "entry_id": str(row["entry_id"]), "epoch": _text(row["epoch"])} for row in rows]


def _intervals(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    """Booked stretches of the counters, latest first."""
    interval, epoch = schema.ledger_interval, schema.epoch
    rows = connection.execute(
        select(interval)
        .join(
            epoch,
            and_(
                epoch.c.station_id == interval.c.station_id,
                epoch.c.meter_id == interval.c.meter_id,
                epoch.c.epoch == interval.c.epoch,
            ),
        )
        .where(interval.c.station_id == station_id)
        .order_by(epoch.c.opened_at.desc(), interval.c.from_counts.desc())
        .limit(SHOWN_INTERVALS)
    )
    return [
        {
            "meter_id": row.meter_id,
            "epoch": str(row.epoch),
            "from_counts": row.from_counts,
            "to_counts": row.to_counts,
            "ul_num": row.ul_num,
            "den": row.den,
            "kind": row.kind,
            "stream": str(row.stream),
            # Priced at the positions that its own epoch gave the counts (docs/protocol.md §5).
            "volume_ul": Scale(row.ul_num, row.den).volume_ul(
                row.from_counts - row.shift_counts, row.to_counts - row.shift_counts
            ),
        }
        for row in rows
    ]


def _streams(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    """Runs of the reader and how far each is acknowledged; the meterless ones have no scale and no volume."""
    stream = schema.stream.c
    rows = connection.execute(
        select(schema.stream)
        .where(stream.station_id == station_id)
        .order_by(stream.last_at.desc(), stream.first_at.desc())
        .limit(SHOWN_STREAMS)
    )
    return [
        {
            "stream": str(row.stream),
            "meter_id": row.meter_id,
            "epoch": _text(row.epoch),
            "first_at": row.first_at,
            "last_at": row.last_at,
            "mark_seq": row.mark_seq,
            "mark_counts": row.mark_counts,
            "software": row.software,
            "clock": row.clock,
            "volume_ul": Scale(row.ul_num, row.den).volume_ul(row.opening_counts, row.mark_counts) if row.ul_num else 0,
        }
        for row in rows
    ]


def _notable(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    notable = schema.notable.c
    rows = connection.execute(
        select(schema.notable)
        .where(notable.station_id == station_id, notable.kind != "heartbeat")
        .order_by(notable.at.desc(), notable.seq.desc())
        .limit(SHOWN_NOTABLE)
    ).mappings()
    return [{**row, "stream": str(row["stream"])} for row in rows]


def _keys(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    key = schema.station_key.c
    rows = connection.execute(
        select(key.key_id, key.created_at, key.revoked_at)
        .where(key.station_id == station_id)
        .order_by(key.created_at.desc(), key.key_id)
    ).mappings()
    return [dict(row) for row in rows]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
