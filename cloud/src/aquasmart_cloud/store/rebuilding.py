"""Rollups, ledger, marks and totals of one station, made again from its stored batches.

For a database whose derived rows were damaged, or were made by software that erred. One transaction under the station's
lock: whoever reads sees the books of before or those of after. Named differences other than open holes stay as they
are, since people may have settled them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from aquasmart_cloud.core.errors import StationError

from .auditing import compare_books
from .connection import Connection
from .database import Database
from .fleet_rollups import ask_refill
from .replaying import DERIVED, TOTALS, Finding, Progress, derived_rows, find_holes, replay
from .stations import Stations

_PAGE_ROWS = 1_000
_SET_TOTALS = "UPDATE station SET events = ?, volume_ul = ?, disputed_ul = ? WHERE station_id = ?"
_CLOSE_HOLE = (
    "UPDATE ledger_entry SET state = 'closed', closed_at = ?, closed_by = 'rebuild'"
    " WHERE station_id = ? AND entry_id = ?"
)
_COPY_HOLE = (
    "INSERT INTO ledger_entry (station_id, entry_id, meter_id, epoch, kind, subject, from_counts, to_counts,"
    " volume_ul, detail, opened_at, state)"
    " SELECT ?1, COALESCE(MAX(entry_id), 0) + 1, ?2, ?3, 'hole', ?4, ?5, ?6, ?7, ?8, ?9, 'open'"
    " FROM ledger_entry WHERE station_id = ?1"
)
_HOLE = (
    "SELECT meter_id, epoch, subject, from_counts, to_counts, volume_ul, detail, opened_at FROM ledger_entry"
    " WHERE station_id = ? AND entry_id = ?"
)


def rebuild_station(
    database: Database,
    stations: Stations,
    station_id: str,
    now_ms: int,
    progress: Progress = lambda *_: None,
) -> list[Finding]:
    """Make a station's books again; returns what they differed in before, nothing when they were right.

    Errors: StationError where the bodies do not suffice, nothing changed; DatabaseError, SealError.
    """
    with replay(database, stations, station_id) as reckoned:
        reckoned.catch_up(progress)
        with database.writing(station_id) as connection, reckoned.scratch.reading() as scratch:
            reckoned.catch_up(progress)
            if reckoned.missing:
                raise StationError(
                    f"{reckoned.missing} batches of {station_id} are kept no more: the rest do not make its books",
                    "restore a backup that has them; retention (AQUASMART_RETENTION_MONTHS) is what lets batches go",
                )
            if reckoned.findings:
                first = reckoned.findings[0]
                raise StationError(
                    f"the stored batches of {station_id} do not hold: {first.what}, {first.where}: {first.detail}",
                    f"'aquasmart-cloud audit verify {station_id}' names everything; restore a backup",
                )
            differences = compare_books(connection, scratch, station_id)
            if differences:
                _replace(connection, scratch, station_id, now_ms)
                # Nobody knows what of the wrong books the fleet's figures had taken in.
                ask_refill(connection, now_ms)
        return differences


def _replace(connection: Connection, scratch: Connection, station_id: str, now_ms: int) -> None:
    for table, columns in DERIVED.items():
        connection.execute(f"DELETE FROM {table} WHERE station_id = ?", (station_id,))  # noqa: S608
        marks = ", ".join("?" * (columns.count(",") + 2))
        insert = f"INSERT INTO {table} (station_id, {columns}) VALUES ({marks})"  # noqa: S608
        rows = ((station_id, *row) for row in _typed(table, derived_rows(scratch, table, station_id)))
        while page := list(islice(rows, _PAGE_ROWS)):
            connection.executemany(insert, page)
    connection.execute(_SET_TOTALS, (*scratch.execute(TOTALS, (station_id,)).fetchone(), station_id))
    stored, follow = find_holes(connection, station_id), find_holes(scratch, station_id)
    for hole, entry_id in stored.open.items():
        if hole not in follow.open:
            connection.execute(_CLOSE_HOLE, (now_ms, station_id, entry_id))
    for hole, entry_id in follow.open.items():
        if hole not in stored.open and hole not in stored.explained:
            connection.execute(_COPY_HOLE, (station_id, *scratch.execute(_HOLE, (station_id, entry_id)).fetchone()))


def _typed(table: str, rows: Iterator[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    """SQLite has no booleans: `epoch.identity_strong` comes as 0 or 1."""
    if table != "epoch":
        return rows
    place = DERIVED["epoch"].split(", ").index("identity_strong")
    return ((*row[:place], bool(row[place]), *row[place + 1 :]) for row in rows)
