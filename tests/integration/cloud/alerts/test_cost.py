"""What a look costs with 10,000 stations: counted in statements and rows, which do not depend on the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest

from aquasmart_cloud.services.alerting import Alerting
from aquasmart_cloud.store.alert_watch import PORTION
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.alerts.scenes import MINUTE_MS
from tests.integration.cloud.senders import CloudUnderTest

STATIONS = 10_000
PORTIONS = STATIONS // PORTION
HEARTBEAT = (
    '{"state":"running","clock":"ntp","dead_letters":%d,"meters":[{"meter_id":"tap-1","state":"ok","counts":7}]}'
)
AROUND = 6
"""Statements of a look that finds nothing: settings, stations, senders, the worker's records, the cloud's memory."""


@dataclass
class Counted:
    """What went through a database."""

    statements: int = 0
    rows_read: int = 0
    rows_written: int = 0
    transactions: int = 0
    cpu_ms: int = 0


class Counting:
    """A connection that counts. A statement for many rows is one, as on the wire."""

    def __init__(self, inner: Connection, counted: Counted) -> None:
        self._inner, self._counted = inner, counted

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        self._counted.statements += 1
        found = self._inner.execute(sql, parameters)
        if sql.startswith(("SELECT", "WITH")):
            return _Rows(found.fetchall(), self._counted)
        return found

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> Any:
        self._counted.statements += 1
        self._counted.rows_written += len(parameters)
        return self._inner.executemany(sql, parameters)


class _Rows:
    def __init__(self, rows: list[Any], counted: Counted) -> None:
        self._rows = iter(rows)
        counted.rows_read += len(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class CountingDatabase:
    """A database whose connections count."""

    def __init__(self, inner: Database) -> None:
        self.inner, self.counted = inner, Counted()

    @contextmanager
    def reading(self) -> Iterator[Counting]:
        with self.inner.reading() as connection:
            yield Counting(connection, self.counted)

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[Counting]:
        self.counted.transactions += 1
        with self.inner.writing(station_id) as connection:
            yield Counting(connection, self.counted)


class Fleet:
    """Ten thousand stations that have all been looked at once."""

    def __init__(self, cloud: CloudUnderTest) -> None:
        self.cloud, self.now_ms = cloud, cloud.now_ms
        with cloud.database.writing() as connection:
            connection.executemany(
                "INSERT INTO station (station_id, name, state, created_at, last_seen_at, hardware_seen, events,"
                " volume_ul, disputed_ul) VALUES (?, '', 'active', 1, ?, '[]', 0, 0, 0)",
                [(name, self.now_ms) for name in self.names()],
            )
            connection.executemany(
                "INSERT INTO heartbeat (station_id, received_at, document) VALUES (?, ?, ?)",
                [(name, self.now_ms, HEARTBEAT % 0) for name in self.names()],
            )

    def names(self, number: int = STATIONS) -> list[str]:
        return [f"station-{each:05d}" for each in range(number)]

    def hear(self, number: int, dead_letters: int = 0) -> None:
        """Heartbeats of the first so many stations."""
        with self.cloud.database.writing() as connection:
            connection.executemany(
                "UPDATE station SET last_seen_at = ? WHERE station_id = ?",
                [(self.now_ms, name) for name in self.names(number)],
            )
            connection.executemany(
                "UPDATE heartbeat SET document = ? WHERE station_id = ?",
                [(HEARTBEAT % dead_letters, name) for name in self.names(number)],
            )

    def add_history(self, number: int, requests: int) -> None:
        """Requests that were looked at long ago."""
        detail = '{"stream":"%032x","through":%d,"inserted":0,"duplicates":1,"volume_ul":0}'
        with self.cloud.database.writing() as connection:
            connection.executemany(
                "INSERT INTO processing_log (station_id, log_id, at, request_id, trace_id, action, detail)"
                " VALUES (?, ?, 1, '', '', 'ingest', ?)",
                [(name, each, detail % (1, each)) for name in self.names(number) for each in range(1, requests + 1)],
            )
            connection.execute("UPDATE alert_watch SET log_id = ?", (requests,))

    def look(self) -> Counted:
        self.now_ms += MINUTE_MS
        database = CountingDatabase(self.cloud.database)
        job = Alerting(cast("Database", database))
        began = time.thread_time()
        job.look(self.now_ms)
        database.counted.cpu_ms = round((time.thread_time() - began) * 1000)
        return database.counted


@pytest.mark.timeout(600)
def test_a_look_costs_by_what_changed_and_not_by_how_much_there_is(
    cloud: CloudUnderTest, record_property: Callable[[str, object], None]
) -> None:
    fleet = Fleet(cloud)
    first = fleet.look()
    nothing = fleet.look()
    fleet.hear(STATIONS)
    everyone = fleet.look()
    fleet.hear(100)
    some = fleet.look()
    fleet.hear(100, dead_letters=1)
    opening = fleet.look()
    fleet.add_history(100, 500)
    fleet.hear(100, dead_letters=1)
    after_history = fleet.look()

    for name, counted in {
        "first look": first,
        "nothing changed": nothing,
        "all were heard": everyone,
        "100 were heard": some,
        "100 alerts open": opening,
        "100 heard, 50,000 older requests": after_history,
    }.items():
        record_property(
            "counted",
            f"alerts, {STATIONS} stations, {cloud.database.kind}, {name}: {counted.statements} statements,"
            f" {counted.transactions} transactions, {counted.rows_read} rows read, {counted.rows_written} written,"
            f" {counted.cpu_ms} ms of this process' CPU",
        )

    assert nothing.statements <= AROUND
    assert (nothing.transactions, nothing.rows_written) == (0, 0)
    assert nothing.rows_read <= 2
    # A portion: the stations, their requests, their differences, and one statement that writes them all.
    assert everyone.statements <= AROUND + 4 * PORTIONS
    assert everyone.transactions == PORTIONS
    assert everyone.rows_written == STATIONS
    assert everyone.rows_read <= 2 * STATIONS + AROUND
    assert some.statements <= AROUND + 4
    assert some.rows_read <= 2 * 100 + AROUND
    assert cloud.one("SELECT count(*) FROM alert WHERE kind = 'dead-letters'") == 100
    # An alert that opens: its row, and the row read back for its words. Nobody is told here.
    assert opening.statements <= AROUND + 5 + 2 * 100
    assert after_history.statements <= some.statements + 1
    assert after_history.rows_read <= some.rows_read + AROUND
