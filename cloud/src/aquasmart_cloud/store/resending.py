"""A dead letter that was sent again: its words take the place of its gap's in `notable`. It adds no volume.

The gap has carried the counts since it was acknowledged; what was missing is what the row said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aquasmart_cloud.core.problems import Refusal

from .connection import Connection

_STREAM = "SELECT mark_seq, meter_id FROM stream WHERE station_id = ? AND stream = ?"
_NOTABLE = "SELECT at, flags, data FROM notable WHERE station_id = ? AND stream = ? AND seq = ?"
_PUT = "UPDATE notable SET kind = ?, flags = ?, data = ? WHERE station_id = ? AND stream = ? AND seq = ?"
_ADD = "INSERT INTO notable (station_id, stream, seq, meter_id, at, kind, flags, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def resend(connection: Connection, station_id: str, payload: Mapping[str, Any], now_ms: int) -> None:
    """Put the row's own words in place. Errors: Refusal `not-found` where the cloud has no such row yet."""
    stream, seq = payload["stream"].replace("-", ""), payload["seq"]
    found = connection.execute(_STREAM, (station_id, stream)).fetchone()
    if found is None or seq > found[0] or seq < 1:
        raise Refusal("not-found", f"row {seq} of stream {payload['stream']} has not arrived, nor a gap for it")
    gap = connection.execute(_NOTABLE, (station_id, stream, seq)).fetchone()
    flags, data = payload.get("flags"), payload.get("data")
    words = (data if isinstance(data, dict) else {}) | {"resent_at": now_ms}
    said = (payload["kind"], flags if isinstance(flags, int) else 0, msgspec.json.encode(words).decode())
    # Not ON CONFLICT: on PostgreSQL the key of this table, partitioned by time, holds the time too.
    if gap is not None:
        connection.execute(_PUT, (*said, station_id, stream, seq))
    else:
        connection.execute(_ADD, (station_id, stream, seq, found[1], now_ms, *said))
