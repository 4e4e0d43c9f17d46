"""A dead letter that was sent again: its words take the place of its gap's in `notable`. It adds no volume.

The gap has carried the counts since it was acknowledged; what was missing is what the row said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from aquasmart_cloud.core.problems import Refusal

_STREAM = "SELECT mark_seq, meter_id FROM stream WHERE station_id = ? AND stream = ?"
_NOTABLE = "SELECT at, flags, data FROM notable WHERE station_id = ? AND stream = ? AND seq = ?"
_PUT = (
    "INSERT INTO notable (station_id, stream, seq, meter_id, at, kind, flags, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (station_id, stream, seq) DO UPDATE SET kind = excluded.kind, flags = excluded.flags,"
    " data = excluded.data"
)


def resend(connection: sqlite3.Connection, station_id: str, payload: Mapping[str, Any], now_ms: int) -> None:
    """Put the row's own words in place. Errors: Refusal `not-found` where the cloud has no such row yet."""
    stream, seq = payload["stream"].replace("-", ""), payload["seq"]
    found = connection.execute(_STREAM, (station_id, stream)).fetchone()
    if found is None or seq > found[0] or seq < 1:
        raise Refusal("not-found", f"row {seq} of stream {payload['stream']} has not arrived, nor a gap for it")
    gap = connection.execute(_NOTABLE, (station_id, stream, seq)).fetchone()
    at = gap[0] if gap is not None else now_ms
    flags, data = payload.get("flags"), payload.get("data")
    words = (data if isinstance(data, dict) else {}) | {"resent_at": now_ms}
    _put(
        connection,
        (station_id, stream, seq, found[1], at, payload["kind"], flags if isinstance(flags, int) else 0),
        words,
    )


def _put(connection: sqlite3.Connection, values: tuple[Any, ...], words: Mapping[str, Any]) -> None:
    connection.execute(_PUT, (*values, msgspec.json.encode(words).decode()))
