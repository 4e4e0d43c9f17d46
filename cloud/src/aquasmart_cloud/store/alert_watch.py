"""What a look for alerts reads, and how far each owner has been looked at (`alert_watch`, whose one writer this is).

A look costs the same however much history there is: one statement finds the stations at which something changed
(heard, new events, state) or time has run out, and a handful of statements read a portion of them: their last
heartbeats, the events of the requests since the last look (by the processing log's numbers and the events' own key),
their open differences. Nothing is found by time, so no clock can hide anything.

Why nothing is told twice or forgotten: a look is read outside a transaction, and its outcome (memory, alerts, outbox)
is written in one. `turn` guards the memory: who read an older row leaves the newer one alone; what it would open or
close a second time is refused by the alert's own row (store.alerts). The worst is the same decision once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.alert_facts import TELLING, Entry, Row

from .connection import Connection
from .database import Database

PORTION = 200
"""Stations read together: their statements have so many places, filled up with the last one."""
RANGES = 40
FIRST_REQUESTS = 500
"""Of a station that is looked at for the first time, so many of its last requests are read."""
STATION, SENDER, CLOUD = "station", "sender", "cloud"

_MARKS = ", ".join("?" * PORTION)
_CHANGED = (
    "SELECT s.station_id FROM station s LEFT JOIN alert_watch w ON w.station_id = s.station_id AND w.what = 'station'"
    " WHERE w.station_id IS NULL OR w.due_at <= ? OR w.events <> s.events OR w.seen_at <> COALESCE(s.last_seen_at, 0)"
    " OR w.state <> s.state ORDER BY s.station_id"
)
_STATIONS = (
    "SELECT s.station_id, s.state, s.last_seen_at, s.events, h.document, COALESCE(c.group_name, ''),"  # noqa: S608
    " COALESCE(w.log_id, (SELECT MAX(l.log_id) FROM processing_log l WHERE l.station_id = s.station_id)"
    f" - {FIRST_REQUESTS}, 0), COALESCE(w.turn, 0), COALESCE(w.memory, '')"
    " FROM station s LEFT JOIN heartbeat h ON h.station_id = s.station_id"
    " LEFT JOIN station_config c ON c.station_id = s.station_id"
    " LEFT JOIN alert_watch w ON w.station_id = s.station_id AND w.what = 'station'"
    f" WHERE s.station_id IN ({_MARKS}) ORDER BY s.station_id"
)
_WANTED = ", ".join(["(CAST(? AS VARCHAR(64)), CAST(? AS BIGINT))"] * PORTION)
_REQUESTS = (
    f"WITH wanted (station_id, log_id) AS (VALUES {_WANTED})"  # noqa: S608  (constants)
    " SELECT l.station_id, l.log_id, l.detail FROM wanted w CROSS JOIN processing_log l"
    " WHERE l.station_id = w.station_id AND l.log_id > w.log_id AND l.action = 'ingest'"
    " ORDER BY l.station_id, l.log_id"
)
_KINDS = ", ".join(f"'{kind}'" for kind in TELLING)
_RANGE = "(station_id = ? AND stream = ? AND seq > ? AND seq <= ?)"
_EVENTS = (
    "SELECT station_id, stream, seq, at, kind, meter_id, data FROM notable"  # noqa: S608  (constants)
    f" WHERE kind IN ({_KINDS}) AND ({' OR '.join([_RANGE] * RANGES)})"
)
_ENTRIES = (
    "SELECT station_id, kind, COUNT(*), SUM(volume_ul), MIN(opened_at) FROM ledger_entry"  # noqa: S608  (constants)
    f" WHERE state = 'open' AND station_id IN ({_MARKS}) GROUP BY station_id, kind ORDER BY station_id, kind"
)
_PUT = (
    "INSERT INTO alert_watch (station_id, what, state, seen_at, events, log_id, due_at, turn, memory)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station_id, what) DO UPDATE SET state = excluded.state,"
    " seen_at = excluded.seen_at, events = excluded.events, log_id = excluded.log_id, due_at = excluded.due_at,"
    " turn = excluded.turn, memory = excluded.memory WHERE alert_watch.turn = excluded.turn - 1"
)
_ALL_DUE = "UPDATE alert_watch SET due_at = 0, turn = turn + 1"
_ONE = "SELECT log_id, turn, memory FROM alert_watch WHERE station_id = ? AND what = ?"
_SENDERS = (
    "SELECT i.client_id, i.last_failed FROM intake i LEFT JOIN alert_watch w ON w.station_id = i.client_id"
    " AND w.what = 'sender' WHERE COALESCE(w.due_at, ?1) <= ?1 OR w.log_id <> i.last_failed"
    " ORDER BY i.client_id"
)
_OPEN_FAILURES = (
    "SELECT COUNT(*), MIN(received_at) FROM (SELECT received_at FROM failed_event WHERE client_id = ?"
    " AND state = 'open' LIMIT 1001) AS few"
)
_NEW_FAILURES = (
    "SELECT failed_seq, code, errors, received_at FROM failed_event WHERE client_id = ? AND failed_seq > ?"
    " AND failed_seq <= ? ORDER BY failed_seq LIMIT ?"
)
NEVER = (1 << 63) - 1


class Watched(NamedTuple):
    """One station as a look finds it."""

    station_id: str
    state: str
    last_seen_ms: int | None
    events: int
    heartbeat: str | None
    group: str
    log_id: int
    turn: int
    memory: str


class Watch(NamedTuple):
    """How far an owner has been looked at, to be written."""

    owner: str
    what: str
    state: str
    seen_at: int
    events: int
    log_id: int
    due_at: int
    turn: int
    memory: str


class Range(NamedTuple):
    """Rows of a stream that a request brought: after `low`, up to `high`."""

    stream: str
    low: int
    high: int


class Failure(NamedTuple):
    """A foreign event that failed since the last look."""

    failed_seq: int
    code: str
    errors: list[dict[str, str]]
    received_at: int


def changed(database: Database, now_ms: int) -> list[str]:
    """Stations to look at: something changed, or it is time. Errors: DatabaseError."""
    with database.reading() as connection:
        return [row[0] for row in connection.execute(_CHANGED, (now_ms,)).fetchall()]


def stations(connection: Connection, ids: Sequence[str]) -> list[Watched]:
    """A portion of stations as they are now."""
    return [Watched(*row) for row in connection.execute(_STATIONS, _filled(ids)).fetchall()]


def requests(connection: Connection, portion: Sequence[Watched]) -> tuple[dict[str, list[Range]], dict[str, int]]:
    """What each station's requests since its last look brought, in order; and the last request's number."""
    pairs = [(each.station_id, each.log_id) for each in portion]
    pairs += [("", NEVER)] * (PORTION - len(pairs))
    ranges: dict[str, list[Range]] = {}
    last: dict[str, int] = {}
    for station_id, log_id, detail in connection.execute(_REQUESTS, [value for pair in pairs for value in pair]):
        last[station_id] = log_id
        said = msgspec.json.decode(detail)
        if said["inserted"]:
            new = Range(said["stream"], said["through"] - said["inserted"], said["through"])
            _append(ranges.setdefault(station_id, []), new)
    return ranges, last


def events(connection: Connection, ranges: dict[str, list[Range]]) -> dict[str, list[Row]]:
    """The events among these that say something for alerts, in order of receipt."""
    found: dict[str, list[tuple[int, int, Row]]] = {}
    wanted = [(station_id, number, each) for station_id, some in ranges.items() for number, each in enumerate(some)]
    for begin in range(0, len(wanted), RANGES):
        some = wanted[begin : begin + RANGES]
        numbers = {(station_id, each.stream, each.low): number for station_id, number, each in some}
        values = [value for station_id, _, each in some for value in (station_id, *each)]
        values += ["", _NO_STREAM, 0, 0] * (RANGES - len(some))
        for station_id, stream, seq, at, kind, meter_id, data in connection.execute(_EVENTS, values):
            # The same stream may have come in several ranges: the one that holds the seq.
            number = max(n for (s, t, low), n in numbers.items() if s == station_id and t == stream and low < seq)
            found.setdefault(station_id, []).append((number, seq, Row(at, kind, meter_id, data)))
    return {station_id: [row for *_, row in sorted(rows, key=lambda r: r[:2])] for station_id, rows in found.items()}


_NO_STREAM = "0" * 32


def entries(connection: Connection, ids: Sequence[str]) -> dict[str, list[Entry]]:
    """Open named differences of these stations, by name."""
    found: dict[str, list[Entry]] = {}
    for station_id, kind, number, volume_ul, opened_at in connection.execute(_ENTRIES, _filled(ids)):
        found.setdefault(station_id, []).append(Entry(kind, number, volume_ul, opened_at))
    return found


def put(connection: Connection, watches: Iterable[Watch]) -> None:
    """Write how far owners have been looked at; one that was written since it was read stays as it is."""
    connection.executemany(_PUT, [(*each[:7], each.turn + 1, each.memory) for each in watches])


def all_due(connection: Connection) -> None:
    """Look at everything again: a setting has changed."""
    connection.execute(_ALL_DUE)


def one(connection: Connection, owner: str, what: str) -> tuple[int, int, str] | None:
    """Last number, turn and memory of an owner; None where it has not been looked at."""
    row = connection.execute(_ONE, (owner, what)).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def senders(database: Database, now_ms: int) -> list[tuple[str, int]]:
    """Senders of foreign events to look at, with the number of their last failure. Errors: DatabaseError."""
    with database.reading() as connection:
        return [(row[0], row[1]) for row in connection.execute(_SENDERS, (now_ms,)).fetchall()]


def open_failures(connection: Connection, client_id: str) -> tuple[int, int | None]:
    """How many failures of a sender are open, counted up to 1,001, and since when."""
    number, since = connection.execute(_OPEN_FAILURES, (client_id,)).fetchone()
    return number, since


def new_failures(connection: Connection, client_id: str, after: int, through: int, limit: int) -> list[Failure]:
    """What failed since the last look, oldest first."""
    rows = connection.execute(_NEW_FAILURES, (client_id, after, through, limit)).fetchall()
    return [Failure(row[0], row[1], msgspec.json.decode(row[2]), row[3]) for row in rows]


def _append(ranges: list[Range], new: Range) -> None:
    """Batches that follow each other in a stream are read as one range."""
    if ranges and ranges[-1].stream == new.stream and ranges[-1].high == new.low:
        ranges[-1] = ranges[-1]._replace(high=new.high)
    else:
        ranges.append(new)


def _filled(ids: Sequence[str]) -> list[Any]:
    return [*ids, *[ids[-1]] * (PORTION - len(ids))]
