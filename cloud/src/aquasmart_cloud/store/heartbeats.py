"""Heartbeats: the last thing each station said of itself, and what it still holds. The only writer of both tables.

It also notes on the station's row that it was heard, which is no total.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple
from uuid import UUID

from aquasmart_cloud.core.decoding import Heartbeat

from .database import Database

MOST_AT_ONCE = 500
"""Streams asked for in one answer; the next heartbeat asks for more."""

_KEEP = (
    "INSERT INTO heartbeat (station_id, received_at, document) VALUES (?, ?, ?)"
    " ON CONFLICT (station_id) DO UPDATE SET received_at = excluded.received_at, document = excluded.document"
)
_SEEN = "UPDATE station SET last_seen_at = ? WHERE station_id = ?"
_KEEP_LIST = (
    "INSERT INTO retained (station_id, received_at, digest, document, behind) VALUES (?, ?, ?, ?, TRUE)"
    " ON CONFLICT (station_id) DO UPDATE SET received_at = excluded.received_at, digest = excluded.digest,"
    " document = excluded.document, behind = TRUE"
)
_LIST = "SELECT digest, document, behind FROM retained WHERE station_id = ?"
_BEHIND = "UPDATE retained SET behind = ? WHERE station_id = ?"
_MARKS = "SELECT stream, mark_seq, mark_counts FROM stream WHERE station_id = ?"


class Wanted(NamedTuple):
    """What the answer to a heartbeat asks for."""

    resend_from: list[dict[str, Any]]
    whole_list: bool
    """The station holds other closed streams than its last whole list says."""


def keep(database: Database, station_id: str, beat: Heartbeat, received_at: int) -> Wanted:
    """Keep a heartbeat, and compare what the station holds with our own marks. Errors: DatabaseError, nothing stored.

    A cloud restored from a backup learns here what it lacks. Its older list may say nothing of it, or be older than its
    marks; then the digest differs and the whole list is asked for. Once every mark has reached the list's ends the
    comparison is left out: marks and `behind` are of one database, so a backup has them as they were together.
    """

    def write(connection: sqlite3.Connection) -> Wanted:
        connection.execute(_KEEP, (station_id, received_at, beat.payload))
        connection.execute(_SEEN, (received_at, station_id))
        if beat.retained is not None:
            listed = json.dumps([[each.stream, each.through] for each in beat.retained], separators=(",", ":"))
            connection.execute(_KEEP_LIST, (station_id, received_at, beat.retained_digest or "", listed))
        if beat.retained_digest is None:
            return Wanted([], whole_list=False)
        known = connection.execute(_LIST, (station_id,)).fetchone()
        if known is None:
            return Wanted([], whole_list=True)
        retained_digest, document, behind = known
        resend = _lacking(connection, station_id, json.loads(document)) if behind else []
        if bool(resend) != bool(behind):
            connection.execute(_BEHIND, (bool(resend), station_id))
        return Wanted(resend[:MOST_AT_ONCE], whole_list=retained_digest != beat.retained_digest)

    return database.write(write)


def _lacking(connection: sqlite3.Connection, station_id: str, listed: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Streams whose end, by the station's list, is beyond our mark; what is unknown begins at seq 1."""
    marks = {UUID(str(stream)).hex: (seq, counts) for stream, seq, counts in connection.execute(_MARKS, (station_id,))}
    lacking = []
    for stream, through in listed:
        seq, counts = marks.get(stream.replace("-", ""), (0, 0))
        if seq < through:
            lacking.append({"stream": stream, "expected_seq": seq + 1, "counts_through": counts})
    return lacking
