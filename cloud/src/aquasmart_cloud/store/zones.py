"""Where a station's clock is: the IANA name of its time zone. The only writer of `station_zone`.

Offsets come from the machine's time zone database, asked at the moment that they are wanted for: they change twice a
year in most places, and by law at any time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aquasmart_cloud.core.errors import StationError

from .database import Database

UTC_NAME = "UTC"

_KNOWN = "SELECT 1 FROM station WHERE station_id = ?"
_SET = (
    "INSERT INTO station_zone (station_id, time_zone, set_at) VALUES (?, ?, ?)"
    " ON CONFLICT (station_id) DO UPDATE SET time_zone = excluded.time_zone, set_at = excluded.set_at"
)
_CLEAR = "DELETE FROM station_zone WHERE station_id = ?"


def offset_minutes(name: str, now_ms: int) -> int:
    """How far this zone's clocks are ahead of UTC at this moment; 0 for a zone that this machine does not know."""
    try:
        zone = _zone(name)
    except StationError:
        return 0
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) // 60


def checked(name: str) -> str:
    """The name, where this machine knows such a zone. Errors: StationError."""
    _zone(name)
    return name


def place(database: Database, station_id: str, name: str, now_ms: int) -> None:
    """Say where a station stands; '' for nowhere in particular. Errors: StationError, DatabaseError."""
    if name:
        checked(name)
    with database.writing() as connection:
        if connection.execute(_KNOWN, (station_id,)).fetchone() is None:
            raise StationError(
                f"there is no station {station_id}", "'aquasmart-cloud station list' shows those that there are"
            )
        if name:
            connection.execute(_SET, (station_id, name, now_ms))
        else:
            connection.execute(_CLEAR, (station_id,))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
        raise StationError(
            f"this machine knows no time zone {name[:64]!r}",
            "it is written Europe/Berlin; the package tzdata has them all",
        ) from fault
