"""The reader: from reading to commit, memory after 10⁶ events, poll lateness while the disk stalls."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from demo.site import Site

from .figures import Figure, Sizes, percentile
from .flash import NoFlash, flash
from .log import Bare
from .machines import await_, bare_interpreter_mb, python_module, site, steady_meter

COMMIT_INTERVAL_MS = 1_000
"""The default."""
LOOK_S = 0.002
COMMITTED = "SELECT position, mono_ms FROM event WHERE position > ? ORDER BY position"
GROWTH_MB = 1.0
LATE_MS = 20.0
"""What the meters' bench (H2) asks of a poll's tick, p99."""
STALL_S = 5.0
POLL_HZ = 50
WINDOW_POLLS = 600
"""Of so many polls the reader shows the 99th percentile: at 50 Hz those of twelve seconds, five of them stalled."""


def measure(sizes: Sizes) -> Iterator[Figure]:
    yield from _committed(sizes)
    yield from _memory(sizes)
    yield from _stall(sizes)


def _committed(sizes: Sizes) -> Iterator[Figure]:
    """From a reading to its commit, at the defaults: what may be lost with a power cut, until it comes as a catch-up.

    Seen from outside: another process polls the log; a reading's own time is in its row.
    """
    ages_ms: list[float] = []
    with site(meters=[steady_meter(1_000_000)]) as place, Bare(place.root / "bare") as bare:
        log = place.root / "station" / "log.db"
        for name in ("meter:tap-1", "reader"):
            place.start(name)
        await_("the reader commits", lambda: _rows(log) > 20)
        newest, until = _rows(log), time.monotonic() + sizes.online_s
        with contextlib.closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True, timeout=10)) as connection:
            while time.monotonic() < until or not ages_ms:
                found = connection.execute(COMMITTED, (newest,)).fetchall()
                now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6
                ages_ms += [now_ms - mono_ms for _, mono_ms in found]
                newest = found[-1][0] if found else newest
                time.sleep(LOOK_S)
        floor_ms = percentile([bare.timed_ms(number) for number in range(sizes.commits)], 99)
    yield Figure(
        "reader.committed_p99",
        percentile(ages_ms, 99),
        "ms",
        COMMIT_INTERVAL_MS + 2 * floor_ms,
        reference=floor_ms,
        reference_is=f"a bare fdatasync, p99; the budget is the commit interval and two of it; {len(ages_ms)} readings",
    )


def _memory(sizes: Sizes) -> Iterator[Figure]:
    early, late = sizes.reader_events
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as folder:
        command = python_module("tests.bench.million", folder, str(early), str(late))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        with contextlib.closing(sqlite3.connect(Path(folder) / "log.db")) as log:
            (rows,) = log.execute("SELECT count(*) FROM event").fetchone()
    if rows < late:
        raise AssertionError(f"{rows} rows in the log of {late} that were given to the reader")
    before, after = (float(line) for line in done.stdout.split())
    bare = "a bare interpreter"
    yield Figure("reader.memory_1e6", after, "MB", 24, reference=bare_interpreter_mb(), reference_is=bare)
    yield Figure(
        "reader.memory_growth",
        after - before,
        "MB",
        GROWTH_MB,
        reference=before,
        reference_is=f"MB at {early:,} events; {late:,} then",
    )


def _stall(sizes: Sizes) -> Iterator[Figure]:
    """A real reader, its log on a file system of its own that is frozen for five seconds; where there is none, its log
    is locked by another process's transaction instead."""
    overrides = {"reader": {"poll_hz": POLL_HZ}}
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(site(meters=[steady_meter(1_000_000)], overrides=overrides))
        log = place.root / "station" / "log.db"
        try:
            folder = stack.enter_context(flash()).folder
            log.parent.rmdir()
            log.parent.symlink_to(folder)
            how, stalled = "its file system frozen", frozen(folder)
        except NoFlash as reason:
            how, stalled = f"its log locked ({reason})", locked(log)
        stack.callback(place.stop_all)  # before the file system goes
        for name in ("meter:tap-1", "reader"):
            place.start(name)
        await_("the reader commits", lambda: _rows(log) > 5)
        time.sleep(WINDOW_POLLS / POLL_HZ if sizes.stall_settle else 1.0)
        calm = _late_p99_ms(place)
        with stalled:
            time.sleep(STALL_S if sizes.stall_settle else 0.2)
        rows = _rows(log)
        await_("the reader commits again", lambda: _rows(log) > rows)
        time.sleep(1.0)
        late = _late_p99_ms(place)
        state = place.status()["meters"][0]["figures"]
    if state["unbooked"]:
        raise AssertionError(f"{state['unbooked']} readings were not booked")
    yield Figure(
        "reader.late_p99_disk_stalled",
        late,
        "ms",
        LATE_MS,
        reference=calm,
        reference_is=f"without the stall; {STALL_S:.0f} s of {WINDOW_POLLS // POLL_HZ} s with {how}",
    )


@contextlib.contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Nothing written to this file system returns before the end."""
    subprocess.run(["fsfreeze", "--freeze", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=True)


@contextlib.contextmanager
def locked(log: Path) -> Iterator[None]:
    """No transaction on this log can begin before the end."""
    with contextlib.closing(sqlite3.connect(log, timeout=30, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def _late_p99_ms(place: Site) -> float:
    return float(place.status()["meters"][0]["figures"]["late_p99_ms"])


def _rows(log: Path) -> int:
    if not log.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return int(connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
