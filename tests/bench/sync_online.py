"""A station that is online: how long after its commit an event is acknowledged, and what being online costs.

Seen from outside: another process polls the log for commits and marks, every five milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

from demo.site import Site

from .figures import Figure, Sizes, percentile
from .machines import await_, site, steady_meter

LOOK_S = 0.005
HOUR_S = 3_600
SEEN = """
SELECT (SELECT max(seq) FROM event WHERE stream = s.stream), (SELECT acked_seq FROM delivery WHERE stream = s.stream)
FROM stream s WHERE s.stream = ?
"""
METERED = "SELECT stream FROM stream WHERE json_extract(header, '$.meter_id') IS NOT NULL ORDER BY stream DESC LIMIT 1"


def measure(sizes: Sizes) -> Iterator[Figure]:
    quick = {"reader": {"commit_interval_s": 0.1}, "sync": {"linger_s": 0}}
    with _online(quick) as place:
        floor_ms = median(_bare_round_trip_ms(place.cloud_port) for _ in range(50))
        latencies = _latencies_ms(place, sizes.online_s)
    words = "an HTTP request and answer on a connection of its own, nothing done"
    for percent in (50, 99):
        name = f"sync.acknowledged_p{percent}"
        yield Figure(name, percentile(latencies, percent), "ms", reference=floor_ms, reference_is=words)
    with _online({}) as place:
        before = _metrics(place)
        began = time.monotonic()
        latencies = _latencies_ms(place, sizes.online_s)
        seconds, after = time.monotonic() - began, _metrics(place)
    words = "a commit each second and sync's linger of 2 s (defaults), the wait for the next commit left out"
    for percent in (50, 99):
        name = f"sync.acknowledged_default_p{percent}"
        yield Figure(name, percentile(latencies, percent), "ms", reference=2_000, reference_is=words)
    yield from _hourly(before, after, seconds, floor_ms)


def _hourly(before: dict[str, float], after: dict[str, float], seconds: float, floor_ms: float) -> Iterator[Figure]:
    """What an hour of pouring without pause would cost, by the station's own metrics."""
    spent = {name: (after[name] - before[name]) * HOUR_S / seconds for name in before}
    naive = HOUR_S / 0.5
    yield Figure(
        "sync.requests_per_hour",
        spent["requests"],
        "1/h",
        reference=naive,
        reference_is="a request each 500 ms, as the source system sends",
    )
    yield Figure(
        "sync.radio_s_per_hour",
        spent["radio"],
        "s/h",
        reference=naive * floor_ms / 1000,
        reference_is="those requests at a bare round trip each; on loopback",
    )
    for service in ("sync", "reader"):
        yield Figure(
            f"{service}.cpu_s_per_hour",
            spent[service],
            "s/h",
            reference=HOUR_S,
            reference_is="one core",
        )


@contextlib.contextmanager
def _online(overrides: dict[str, dict[str, Any]]) -> Iterator[Site]:
    with site(meters=[steady_meter(1_000_000)], overrides=overrides) as place:
        for name in place.names:
            place.start(name)
        log = place.root / "station" / "log.db"
        await_("something is acknowledged", lambda: _stream(log) is not None and (_seen(log)[1] or 0) > 5)
        yield place


def _stream(log: Path) -> int | None:
    if not log.exists():
        return None
    with contextlib.closing(sqlite3.connect(log, timeout=10)) as connection, contextlib.suppress(sqlite3.Error):
        found = connection.execute(METERED).fetchone()
        return int(found[0]) if found else None
    return None


def _seen(log: Path) -> tuple[int | None, int | None]:
    stream = _stream(log)
    with contextlib.closing(sqlite3.connect(log, timeout=10)) as connection:
        found = connection.execute(SEEN, (stream,)).fetchone()
        return (found[0], found[1]) if found else (None, None)


def _latencies_ms(place: Site, seconds: float) -> list[float]:
    """One value for each commit: from when its last event was there to when that event was acknowledged."""
    log = place.root / "station" / "log.db"
    stream = _stream(log)
    waiting: list[tuple[int, float]] = []
    latencies: list[float] = []
    newest, acked = 0, 0
    with contextlib.closing(sqlite3.connect(log, timeout=10)) as connection:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until or not latencies:
            last, mark = connection.execute(SEEN, (stream,)).fetchone()
            if last > newest:
                waiting += [(last, now)] if newest else []
                newest = last
            if mark != acked:
                acked = mark
                latencies += [(now - at) * 1000 for seq, at in waiting if seq <= acked]
                waiting = [(seq, at) for seq, at in waiting if seq > acked]
            time.sleep(LOOK_S)
    return latencies


def _metrics(place: Site) -> dict[str, float]:
    document = json.loads(place.station("metrics", "--json"))

    def total(name: str, label: str = "", value: str = "") -> float:
        samples = document[name]["samples"]
        return float(sum(s["value"] for s in samples if not label or s["labels"].get(label) == value))

    cpu = "aquasmart_process_cpu_seconds_total"
    return {
        "requests": total("aquasmart_link_requests_total"),
        "radio": total("aquasmart_link_radio_seconds_total"),
        "sync": total(cpu, "service", "sync"),
        "reader": total(cpu, "service", "reader"),
    }


def _bare_round_trip_ms(port: int) -> float:
    began = time.perf_counter()
    line = HTTPConnection("127.0.0.1", port, timeout=10)
    line.request("GET", "/healthz")
    line.getresponse().read()
    line.close()
    return (time.perf_counter() - began) * 1000
