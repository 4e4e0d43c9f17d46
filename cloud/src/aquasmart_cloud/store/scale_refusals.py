"""What a refused calibration leaves behind: the only writer of `refused_change`.

Counts that were booked under the refused price stay booked, for ever, as all are. How much that price makes of the
total is a named entry, `scale-refused`, exact and kept up with every batch that still arrives from those streams.
"""

from __future__ import annotations

import sqlite3

from aquasmart_cloud.core.model import Scale

from .entries import Entries, Place

SCALE_REFUSED = "scale-refused"

_INSERT = (
    "INSERT INTO refused_change (station_id, change_token, meter_id, ul_num, den, former_ul_num, former_den,"
    " refused_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station_id, change_token) DO NOTHING"
)
_FIND = (
    "SELECT meter_id, ul_num, den, former_ul_num, former_den FROM refused_change"
    " WHERE station_id = ? AND change_token = ?"
)
_BOOKED = (
    "SELECT i.epoch, i.from_counts, i.to_counts, i.shift_counts, i.ul_num, i.den FROM change_stream c"
    " JOIN ledger_interval i ON i.station_id = c.station_id AND i.stream = c.stream"
    " WHERE c.station_id = ? AND c.change_token = ? AND i.meter_id = ? ORDER BY i.epoch, i.from_counts"
)


def refuse(
    connection: sqlite3.Connection,
    station_id: str,
    change_token: str,
    meter_id: str,
    scale: Scale,
    former: Scale,
    entries: Entries,
    now_ms: int,
) -> None:
    """Remember a refused calibration and name what has been priced by it so far."""
    connection.execute(_INSERT, (station_id, change_token, meter_id, *scale, *former, now_ms))
    name_difference(connection, station_id, change_token, entries)


def name_difference(connection: sqlite3.Connection, station_id: str, change_token: str, entries: Entries) -> None:
    """Bring the entry up to date; nothing where this change was not refused, or nothing stands under it."""
    row = connection.execute(_FIND, (station_id, change_token)).fetchone()
    if row is None:
        return
    meter_id, scale, former = row[0], Scale(row[1], row[2]), Scale(row[3], row[4])
    booked = connection.execute(_BOOKED, (station_id, change_token, meter_id)).fetchall()
    # Only what this price booked: a position that was booked before by another stream keeps that one's price.
    ours = [each for each in booked if (each[4], each[5]) == scale]
    if not ours:
        return
    difference_ul = 0
    for _, low, high, shift, _, _ in ours:
        own = (low - shift, high - shift)
        difference_ul += scale.volume_ul(*own) - former.volume_ul(*own)
    detail = {
        "change_token": change_token,
        "scale": scale._asdict(),
        "former": former._asdict(),
        "counts": sum(high - low for _, low, high, *_ in ours),
    }
    extent = (ours[0][1], ours[-1][2])
    entries.set(SCALE_REFUSED, change_token, Place(meter_id, ours[-1][0]), extent, difference_ul, detail)
