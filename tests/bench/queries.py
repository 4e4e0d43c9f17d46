"""How long people wait: the fleet and a station, asked of the real cloud over a filled database.

What is filled in are the tables that pages read (rollups, heartbeats, the stations' own totals): a page must not
depend on how many events lie behind them. The naive server sums its rows per event, a small part of as many.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

from .figures import Figure, Sizes, percentile
from .machines import NaiveServer, site

MINUTE_MS = 60_000
EVENTS_PER_MINUTE = 600
UL_PER_MINUTE = 8_000_000
NAIVE_ROWS_PER_STATION = 400


def measure(sizes: Sizes) -> Iterator[Figure]:
    naive = _naive(sizes)
    summed = sizes.stations * NAIVE_ROWS_PER_STATION
    asked = f"{sizes.stations} stations, {sizes.stations * sizes.minutes * EVENTS_PER_MINUTE:,} events"
    with site() as place:
        _fill(place.root / "cloud" / "cloud.db", sizes)
        place.start("cloud")
        token = (place.root / "cloud" / "admin.token").read_text().strip()
        for name, target in (("fleet", "/api/fleet"), ("station", "/api/stations/query-0001")):
            took_ms = _ask(place.cloud_port, target, sizes.queries, {"Authorization": f"Bearer {token}"})
            for percent in (50, 95):
                yield Figure(
                    f"queries.{name}_p{percent}",
                    percentile(took_ms, percent),
                    "ms",
                    reference=percentile(naive, percent),
                    reference_is=f"naive sum over {summed:,} events; ours: {asked}",
                )


def _ask(port: int, target: str, times: int, headers: dict[str, str]) -> list[float]:
    """Milliseconds of each of `times` requests on one connection, after two that warm up."""
    line = HTTPConnection("127.0.0.1", port, timeout=60)
    took_ms = []
    for _ in range(times + 2):
        began_ns = time.perf_counter_ns()
        line.request("GET", target, headers=headers)
        answer = line.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{target}: status {answer.status}: {text[:500]!r}")
        took_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    line.close()
    return took_ms[2:]


def _fill(database: Path, sizes: Sizes) -> None:
    """Stations that dispensed all the time, up to this minute."""
    now_ms = time.time_ns() // 1_000_000
    names = [f"query-{number:04}" for number in range(1, sizes.stations + 1)]
    events = sizes.minutes * EVENTS_PER_MINUTE
    volume_ul = sizes.minutes * UL_PER_MINUTE
    with closing(sqlite3.connect(database)) as connection:
        _insert(
            connection,
            "station",
            [
                {
                    "station_id": name, "name": name, "state": "active", "created_at": now_ms, "last_seen_at": now_ms,
                    "hardware_id": "0" * 32, "hardware_seen": "[]", "events": events, "volume_ul": volume_ul,
                    "disputed_ul": 0,
                }
                for name in names
            ],
        )  # fmt: skip
        _insert(connection, "heartbeat", [_heartbeat(name, now_ms) for name in names])
        for grain, width_ms in (("minute", MINUTE_MS), ("hour", 60 * MINUTE_MS), ("day", 1440 * MINUTE_MS)):
            for name in names:
                _insert(connection, "rollup", _rollups(name, grain, width_ms, now_ms, sizes.minutes))
        connection.commit()


def _heartbeat(name: str, now_ms: int) -> dict[str, Any]:
    payload = {
        "state": "online",
        "software": "0.1.0",
        "clock": "ntp",
        "pending": 0,
        "oldest_pending_s": 0,
        "meters": [],
    }
    return {"station_id": name, "received_at": now_ms, "document": json.dumps(payload)}


def _rollups(name: str, grain: str, width_ms: int, now_ms: int, minutes: int) -> list[dict[str, Any]]:
    buckets: dict[int, int] = {}
    for minute in range(minutes):
        at = (now_ms - minute * MINUTE_MS) // width_ms * width_ms
        buckets[at] = buckets.get(at, 0) + 1
    return [
        {
            "station_id": name, "meter_id": "tap-1", "grain": grain, "bucket_at": at,
            "volume_ul": count * UL_PER_MINUTE, "disputed_ul": 0, "events": count * EVENTS_PER_MINUTE,
        }
        for at, count in buckets.items()
    ]  # fmt: skip


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    marks = ", ".join(f":{column}" for column in columns)
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def _naive(sizes: Sizes) -> list[float]:
    """Milliseconds of the naive server's totals."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name, NaiveServer(Path(name)) as server:
        now_s = time.time()
        with closing(sqlite3.connect(server.database)) as connection:
            connection.executemany(
                "INSERT INTO events VALUES (?, ?, 'tap-1', ?, ?, 'volume', NULL)",
                (
                    (str(uuid4()), f"query-{station:04}", now_s - row / 10, 1_000_000 + 6 * row)
                    for station in range(sizes.stations)
                    for row in range(NAIVE_ROWS_PER_STATION)
                ),
            )
            connection.commit()
        return _ask(server.port, "/totals", sizes.queries, {})
