"""The whole fleet's figures by minute, hour and day (`fleet_rollup`), added up from what each station's log tells.

This table's one writer, with `fleet_mark` and `fleet_fill`. Every request's row of the processing log says what it
changed in its station's rollups (core.changes); `add_changes` adds up the rows beyond each station's mark and moves the
marks, in one transaction. So a change is added once, whatever is cut off, repeated or done by two at once, and none is
passed over: a station's rows are numbered and committed in order, under its lock.

A station that was there before is covered piece by piece from its own rollups (`cover`), under its lock: a piece is
read together with how far its log goes, and what the log tells later of pieces that are covered already is added.

Figures that are to be trusted no more (`ask_refill`) are emptied and filled anew; nobody reads them meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aquasmart_cloud.core.changes import Change, changes, logged

from .connection import Connection
from .database import Database
from .schema import GRAIN_WIDTHS_MS

EMPTYING, FILLING, COMPLETE = "emptying", "filling", "complete"
GRAINS = tuple(GRAIN_WIDTHS_MS)
_SCOPE = ""
"""No station's id: what is written here is nobody else's, and what is read of the log never changes, so ingest need not
wait for it (Database.writing)."""
_PORTION = 500
_STATIONS = 100
_COUNTED = frozenset({"ingest", "import"})

_STATE = "SELECT state FROM fleet_fill WHERE name = 'fleet'"
_SET_STATE = (
    "INSERT INTO fleet_fill (name, state, since_at) VALUES ('fleet', ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET state = excluded.state, since_at = excluded.since_at"
)
_NEXT_STATE = "UPDATE fleet_fill SET state = ?, since_at = ? WHERE name = 'fleet' AND state = ?"
_EMPTY_MARKS = (
    "DELETE FROM fleet_mark WHERE station_id IN (SELECT station_id FROM fleet_mark ORDER BY station_id LIMIT ?)"
)
_EMPTY_ROLLUPS = (
    "DELETE FROM fleet_rollup WHERE grain = ?1 AND bucket_at IN"
    " (SELECT bucket_at FROM fleet_rollup WHERE grain = ?1 ORDER BY bucket_at LIMIT ?2)"
)
_UNCOVERED = (
    "SELECT s.station_id FROM station s LEFT JOIN fleet_mark m ON m.station_id = s.station_id"
    " WHERE s.events > 0 AND (m.station_id IS NULL OR NOT m.complete) ORDER BY s.station_id LIMIT ?"
)
# CROSS JOIN keeps SQLite to this order, stations first: else it may read the whole log, which is in the wanted order.
BEYOND = (
    " FROM station s CROSS JOIN fleet_mark m CROSS JOIN processing_log l WHERE m.station_id = s.station_id"
    " AND m.complete AND s.events <> m.events AND l.station_id = m.station_id AND l.log_id > m.log_id"
)
"""Rows of the log that are not added up yet: `l`, of station `s` with mark `m`."""
_NEXT = (
    "SELECT l.station_id, l.log_id, l.action, l.detail"
    + BEYOND
    + " AND s.station_id >= ? ORDER BY s.station_id, l.log_id LIMIT ?"
)
_ADD = (
    "INSERT INTO fleet_rollup (grain, bucket_at, volume_ul, disputed_ul, events) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (grain, bucket_at) DO UPDATE SET volume_ul = fleet_rollup.volume_ul + excluded.volume_ul,"
    " disputed_ul = fleet_rollup.disputed_ul + excluded.disputed_ul, events = fleet_rollup.events + excluded.events"
)
_MOVE = "UPDATE fleet_mark SET log_id = ?, events = events + ? WHERE station_id = ?"
_MARK = "SELECT log_id, events, at_meter, at_grain, at_bucket FROM fleet_mark WHERE station_id = ?"
_LOG_END = (
    "SELECT s.events, (SELECT COALESCE(MAX(log_id), 0) FROM processing_log l WHERE l.station_id = s.station_id)"
    " FROM station s WHERE s.station_id = ?"
)
_LOG_BETWEEN = (
    "SELECT action, detail FROM processing_log WHERE station_id = ? AND log_id > ? AND log_id <= ? ORDER BY log_id"
)
_METERS = "SELECT DISTINCT meter_id FROM epoch WHERE station_id = ?"
_METER_OF = "SELECT meter_id FROM stream WHERE station_id = ? AND stream = ?"
_PIECE = (
    "SELECT bucket_at, volume_ul, disputed_ul, events FROM rollup WHERE station_id = ? AND meter_id = ? AND grain = ?"
    " AND bucket_at > ? ORDER BY bucket_at LIMIT ?"
)
_SET_MARK = (
    "INSERT INTO fleet_mark (station_id, log_id, events, complete, at_meter, at_grain, at_bucket)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station_id) DO UPDATE SET log_id = excluded.log_id,"
    " events = excluded.events, complete = excluded.complete, at_meter = excluded.at_meter,"
    " at_grain = excluded.at_grain, at_bucket = excluded.at_bucket"
)


Cells = dict[tuple[str, int], list[int]]
"""(grain, bucket) → volume, disputed µl, events to add."""


class Untold(Exception):
    """A row of the log does not say what it changed: older software wrote it, and the figures cannot follow it."""


def state(database: Database) -> str:
    """How far the figures are: '' before the first time. Errors: DatabaseError."""
    with database.reading() as connection:
        row = connection.execute(_STATE).fetchone()
    return "" if row is None else str(row[0])


def ask_refill(connection: Connection, now_ms: int) -> None:
    """The figures are to be trusted no more, within a transaction that knows why: emptied and filled anew."""
    connection.execute(_SET_STATE, (EMPTYING, now_ms))


def refill(database: Database, now_ms: int) -> None:
    """The same in a transaction of its own. Errors: DatabaseError."""
    with database.writing(_SCOPE) as connection:
        ask_refill(connection, now_ms)


def advance(database: Database, former: str, new: str, now_ms: int) -> None:
    """From one state to the next, unless somebody asked for another meanwhile. Errors: DatabaseError."""
    with database.writing(_SCOPE) as connection:
        connection.execute(_NEXT_STATE, (new, now_ms, former))


def empty(database: Database) -> bool:
    """Delete a portion; whether there was anything. Marks go last: without one a station is covered from its start.

    Errors: DatabaseError.
    """
    with database.writing(_SCOPE) as connection:
        gone = sum(connection.execute(_EMPTY_ROLLUPS, (grain, _PORTION)).rowcount for grain in GRAINS)
        gone += connection.execute(_EMPTY_MARKS, (_PORTION,)).rowcount if not gone else 0
    return gone > 0


def add_changes(database: Database, from_station: str) -> tuple[int, str | None]:
    """Add what the logs of stations from this one on tell beyond their marks, up to 500 rows.

    Returns how many rows, and the station to continue with, None at the end. Errors: DatabaseError; Untold, nothing
    stored.
    """
    with database.writing(_SCOPE) as connection:
        rows = connection.execute(_NEXT, (from_station, _PORTION)).fetchall()
        cells: Cells = defaultdict(lambda: [0, 0, 0])
        marks: dict[str, list[int]] = {}
        for station_id, log_id, action, detail in rows:
            mark = marks.setdefault(station_id, [0, 0])
            mark[0] = log_id
            if action in _COUNTED:
                inserted, found = _told(detail)
                mark[1] += inserted
                _add_up(cells, found, GRAINS)
        _write(connection, cells)
        moves = [(log_id, events, station_id) for station_id, (log_id, events) in marks.items()]
        connection.executemany(_MOVE, moves)
    return len(rows), rows[-1][0] if len(rows) == _PORTION else None


def uncovered(database: Database) -> list[str]:
    """Stations that are not in the figures yet, or not wholly; up to a hundred. Errors: DatabaseError."""
    with database.reading() as connection:
        return [station_id for (station_id,) in connection.execute(_UNCOVERED, (_STATIONS,)).fetchall()]


def cover(database: Database, station_id: str) -> bool:
    """Add a piece of a station's own rollups, up to 500 rows; whether that was the last.

    Errors: DatabaseError; Untold, nothing stored.
    """
    with database.writing(station_id) as connection:
        events, log_end = connection.execute(_LOG_END, (station_id,)).fetchone()
        found = connection.execute(_MARK, (station_id,)).fetchone()
        log_id, _, at_meter, at_grain, at_bucket = found or (log_end, 0, "", GRAINS[0], -1)
        meters = {meter_id for (meter_id,) in connection.execute(_METERS, (station_id,)).fetchall()} | {""}
        places = [(meter, grain) for meter in sorted(meters) for grain in GRAINS]
        at = places.index((at_meter, at_grain))
        cells: Cells = defaultdict(lambda: [0, 0, 0])
        if found is not None:
            # What came since the last piece changed pieces that are covered, and some that are not yet.
            for meter_id, change in _of_log(connection, station_id, log_id, log_end):
                covered = [grain for grain in GRAINS if _is_covered((meter_id, grain), change, places, at, at_bucket)]
                _add_up(cells, [change], covered)
        room = _PORTION
        while True:
            meter_id, grain = places[at]
            piece = connection.execute(_PIECE, (station_id, meter_id, grain, at_bucket, room)).fetchall()
            for bucket_at, *figures in piece:
                _add(cells, (grain, bucket_at), figures)
            if len(piece) == room:
                at_bucket = piece[-1][0]
                break
            if at == len(places) - 1:
                break
            room, at, at_bucket = room - len(piece), at + 1, -1
        complete = len(piece) < room
        _write(connection, cells)
        connection.execute(_SET_MARK, (station_id, log_end, events, complete, *places[at], at_bucket))
    return complete


def _is_covered(place: tuple[str, str], change: Change, places: list[tuple[str, str]], at: int, at_bucket: int) -> bool:
    where = places.index(place)
    bucket_at = _bucket(change, place[1])
    return where < at or (where == at and bucket_at <= at_bucket)


def _of_log(connection: Connection, station_id: str, after: int, through: int) -> Iterable[tuple[str, Change]]:
    """What the log tells between two of its rows, with the meter it is about."""
    for action, detail in connection.execute(_LOG_BETWEEN, (station_id, after, through)).fetchall():
        if action not in _COUNTED:
            continue
        _, found = _told(detail)
        if found:
            stream = logged(detail).stream
            [meter_id] = connection.execute(_METER_OF, (station_id, stream)).fetchone()
            for change in found:
                yield meter_id or "", change


def _told(detail: str) -> tuple[int, list[Change]]:
    """Events inserted, and changes, of a row of the log. Errors: Untold."""
    said = logged(detail)
    if not said.told:
        raise Untold(f"stream {said.stream}")
    return said.inserted, changes(said)


def _add_up(cells: Cells, found: Iterable[Change], grains: Iterable[str]) -> None:
    """Add changes to cells of these grains."""
    wanted = tuple(grains)
    for change in found:
        for grain in wanted:
            _add(cells, (grain, _bucket(change, grain)), change[1:])


def _bucket(change: Change, grain: str) -> int:
    width_ms = GRAIN_WIDTHS_MS[grain]
    return change.bucket_at // width_ms * width_ms


def _add(cells: Cells, key: tuple[str, int], figures: Iterable[int]) -> None:
    for index, figure in enumerate(figures):
        cells[key][index] += figure


def _write(connection: Connection, cells: Cells) -> None:
    connection.executemany(_ADD, [(*key, *figures) for key, figures in sorted(cells.items())])
