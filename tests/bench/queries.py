"""How long people wait: pages, dashboards, and an export, asked of the real cloud with ten million events behind it.

On SQLite and on PostgreSQL in the same run. The naive server sums its rows per event, a small part of as many.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from aquasmart_cloud.store.database import Database
from demo.site import Site
from tests.capabilities import missing

from .clouds import postgresql
from .figures import Figure, Sizes, percentile
from .filling import fill
from .machines import NaiveServer, resident_mb, site

NAIVE_ROWS_PER_STATION = 400
P95_MS = 100
MONTH_S = 30 * 86_400
EXPORTED_S = 86_400


def measure(sizes: Sizes) -> Iterator[Figure]:
    naive = _naive(sizes)
    with site() as place:
        yield from _store("queries", place, f"sqlite:///{place.root / 'cloud' / 'cloud.db'}", sizes, naive)
    if why_not := missing(("postgresql",)):
        yield Figure("queries.postgresql.fleet_p95", None, "ms", P95_MS, why_not=why_not)
        return
    with postgresql() as url, site(cloud_settings={"AQUASMART_DATABASE_URL": url}) as place:
        yield from _store("queries.postgresql", place, url, sizes, naive)


def _store(name: str, place: Site, url: str, sizes: Sizes, naive: list[float]) -> Iterator[Figure]:
    database = Database(url)
    events = fill(database, bytes.fromhex((place.root / "cloud" / "master.key").read_text().strip()), sizes)
    if database.kind == "postgresql":
        with database.reading() as connection:
            connection.execute("ANALYZE")  # as its autovacuum does within a minute
    database.close()
    place.start("cloud")
    token = (place.root / "cloud" / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Cookie": _session(place.cloud_port, token)}
    summed = sizes.stations * NAIVE_ROWS_PER_STATION
    asked = f"{sizes.stations} stations and {events:,} events"
    for what, target in _questions().items():
        took_ms = _ask(place.cloud_port, target, sizes.queries, headers)
        for percent in (50, 95):
            yield Figure(
                f"{name}.{what}_p{percent}",
                percentile(took_ms, percent),
                "ms",
                P95_MS if percent == 95 else None,
                reference=percentile(naive, percent),
                reference_is=f"naive sum over {summed:,} events; ours: {asked}",
            )
    yield from _export(name, place, headers)


def _questions() -> dict[str, str]:
    """Figure → what is asked. Times are whole minutes, as the rollups have them."""
    now_s = int(time.time()) // 60 * 60

    def since(seconds: int) -> dict[str, str]:
        return {"from": str(now_s - seconds), "to": str(now_s)}

    def figures(**asked: str) -> str:
        return "/api/aggregations?" + urlencode(asked)

    month = {"of": "stations", "station": "month-1", **since(MONTH_S)}
    day = {"of": "stations", "station": "month-1", "limit": "100", **since(86_400)}
    return {
        "fleet": "/api/fleet",
        "fleet_page": "/",
        "station": "/api/stations/month-1",
        "station_page": "/stations/month-1",
        "month_by_day": figures(**month, group_by="day"),
        "month_by_hour": figures(**month, group_by="hour"),
        "fleet_by_month": figures(of="stations", group_by="month"),
        "stations_by_day": figures(of="stations", group_by="station,day"),
        "metrics_by_day": figures(group_by="metric,day"),
        "metrics_by_hour_of_a_week": figures(group_by="metric,hour", **since(7 * 86_400)),
        "events": "/api/events?" + urlencode(day),
        "failed_page": "/failed-events",
        "stats": "/api/stats",
    }


def _export(name: str, place: Site, headers: dict[str, str]) -> Iterator[Figure]:
    """A day of a station as CSV: until the first byte, events a second, and the server's memory."""
    span = {"from": str(int(time.time()) - EXPORTED_S), "to": str(int(time.time()))}
    target = "/api/events.csv?" + urlencode({"of": "stations", "station": "month-2", **span})
    with closing(HTTPConnection("127.0.0.1", place.cloud_port, timeout=120)) as line:
        began = time.perf_counter()
        line.request("GET", target, headers=headers)
        answer = line.getresponse()
        lines = answer.read(1).count(b"\n")
        first_ms = (time.perf_counter() - began) * 1000
        while part := answer.read(1 << 16):
            lines += part.count(b"\n")
        took_s = time.perf_counter() - began
    if answer.status != 200 or lines < 2:
        raise RuntimeError(f"{target}: status {answer.status}, {lines} lines")
    master = place.pid("cloud")
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    yield Figure(f"{name}.export_first_byte", first_ms, "ms", P95_MS)
    yield Figure(f"{name}.export", (lines - 1) / took_s, "events/s")
    yield Figure(f"{name}.memory", max(resident_mb(int(pid), peak=True) for pid in workers), "MB")


def _session(port: int, token: str) -> str:
    """The cookie of somebody who has signed in."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        line.request("POST", "/sign-in", urlencode({"token": token}), form)
        answer = line.getresponse()
        return (answer.getheader("Set-Cookie") or "").partition(";")[0]


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


def _naive(sizes: Sizes) -> list[float]:
    """Milliseconds of the naive server's totals."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name, NaiveServer(Path(name)) as server:
        now_s = time.time()
        with contextlib.closing(sqlite3.connect(server.database)) as connection:
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
