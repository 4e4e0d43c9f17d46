"""The station's processes with a backlog: memory of reader and sync, recovery after `kill -9`, and the drain.

The real reader, the real sync process and the real cloud; the log is filled beforehand by the product's own writer.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from aquasmart_station.adapters.log_writer import LogWriter
from demo.site import REPOSITORY, Site

from .figures import Figure, Sizes
from .machines import await_, bare_interpreter_mb, resident_mb, site, steady_meter
from .naive_drain import naive_events_per_s
from .water import drafts, stream_header

DAY_MS = 86_400_000
ROWS_PER_APPEND = 1_000


def measure(sizes: Sizes) -> Iterator[Figure]:
    yield from _offline(sizes)
    yield from _drain(sizes)


def fill_log(path: Path, rows: int) -> int:
    """A log with `rows` undelivered rows of a fresh stream, the latest of them a day old. Gives its last counts."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    writer = LogWriter(path)
    writer.open()
    source = islice(drafts(stream_header(), started_at_ms=time.time_ns() // 1_000_000 - 30 * DAY_MS), rows)
    counts = 0
    while group := list(islice(source, ROWS_PER_APPEND)):
        counts = writer.append(group)[-1].counts
    writer.close()
    return counts


def _offline(sizes: Sizes) -> Iterator[Figure]:
    """Reader and sync with the cloud unreachable and everything still to be delivered."""
    with site(meters=[steady_meter(1_000_000_000)]) as place:
        log = place.root / "station" / "log.db"
        fill_log(log, sizes.backlog_rows)
        for name in ("meter:tap-1", "reader", "sync"):
            place.start(name)
        bare = f"a bare interpreter; {sizes.backlog_rows:,} events behind"
        await_("the reader commits", lambda: _rows(log) > sizes.backlog_rows + 1)
        time.sleep(sizes.settle_s)
        bare_mb = bare_interpreter_mb()
        for name, budget_mb in (("reader", 24), ("sync", 36)):
            value = resident_mb(place.pid(name), peak=True)
            yield Figure(f"{name}.memory", value, "MB", budget_mb, reference=bare_mb, reference_is=bare)
        seconds = [_recovery_s(place, log) for _ in range(sizes.recoveries)]
        yield Figure(
            "reader.recovery_after_kill",
            max(seconds),
            "s",
            2,
            reference=_import_s(),
            reference_is="starting an interpreter and importing the reader",
        )


def _recovery_s(place: Site, log: Path) -> float:
    """From `kill -9` and an immediate restart to the first row committed by the new process."""
    place.kill("reader")
    before = _rows(log)
    began = time.monotonic()
    place.start("reader")
    await_("the reader commits again", lambda: _rows(log) > before, every_s=0.005)
    return time.monotonic() - began


def _drain(sizes: Sizes) -> Iterator[Figure]:
    """From the moment sync takes the log over to its last mark, by its own records; the median of several."""
    with site(overrides={"sync": {"linger_s": 0}}) as place:
        log = place.root / "station" / "log.db"
        place.start("cloud")
        rates, peak_mb = [], 0.0
        for _ in range(sizes.drains):
            fill_log(log, sizes.backlog_rows)
            place.start("sync")
            await_("the backlog is drained", lambda: acknowledged(log) == sizes.backlog_rows, every_s=0.1)
            peak_mb = max(peak_mb, resident_mb(place.pid("sync"), peak=True))
            place.stop("sync")
            rates.append(sizes.backlog_rows / drained_in_s(log))
        events = place.totals()["stations"][0]["events"]
        if events != sizes.drains * sizes.backlog_rows:
            raise AssertionError(f"the cloud has {events} events of {sizes.drains * sizes.backlog_rows}")
    naive = naive_events_per_s(sizes.naive_backlog_rows)
    yield Figure(
        "sync.drain",
        median(rates),
        "events/s",
        250_000,
        at_least=True,
        reference=naive,
        reference_is="50 rows of JSON a request, each its own connection, row per event, no pause",
    )
    yield Figure(
        "sync.memory_draining", peak_mb, "MB", 36, reference=bare_interpreter_mb(), reference_is="a bare interpreter"
    )


def drained_in_s(log: Path) -> float:
    with contextlib.closing(sqlite3.connect(log)) as connection:
        began_ms = connection.execute("SELECT at_ms FROM fence").fetchone()[0]
        ended_ms = connection.execute("SELECT max(acked_at_ms) FROM delivery").fetchone()[0]
    return max(1, ended_ms - began_ms) / 1000


def _rows(log: Path) -> int:
    return _number(log, "SELECT coalesce(max(position), 0) FROM event")


def acknowledged(log: Path) -> int:
    return _number(log, "SELECT coalesce(sum(acked_seq), 0) FROM delivery")


def _number(log: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(log, timeout=10)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _import_s() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import aquasmart_station.wiring"], check=True, cwd=REPOSITORY)
    return time.monotonic() - began
