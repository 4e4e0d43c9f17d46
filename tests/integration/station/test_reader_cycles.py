"""When the reader commits, and that it does so also where it is told to stop before its first cycle.

The reader's own parts in this process, on a real log; without meters, since drafts are what a cycle waits for.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from aquasmart_station.adapters.clock import SystemClock
from aquasmart_station.core.model import Draft, Kind
from aquasmart_station.core.ports import EventLog
from aquasmart_station.services.polling import MeterPoller, Shelf
from aquasmart_station.services.reader import LOOK_EVERY_NS, WAKING_NS, Reader
from tests.bench.million import reader_on
from tests.bench.water import drafts, stream_header
from tests.integration.world import eventually

# sdnotify has no end for its socket: the process that it speaks for ends with it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
INTERVAL_S = 100
"""Beyond every patience of this test."""


def kinds(folder: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{folder / 'log.db'}?mode=ro", uri=True, timeout=10)) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM event ORDER BY position")]


@contextmanager
def running(reader: Reader) -> Iterator[None]:
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        yield
    finally:
        reader.stop()
        thread.join()


def made(age_ms: int) -> Draft:
    """A reading that was taken so long ago."""
    [draft] = islice(drafts(stream_header()), 1)
    return replace(draft, mono_ms=SystemClock().mono_ns() // 1_000_000 - age_ms)


def put(shelf: Shelf, *found: Draft) -> None:
    with shelf.wake:
        shelf.ring.put(list(found))
        shelf.wake.notify()


def test_a_reading_is_committed_before_it_is_as_old_as_the_interval(tmp_path: Path) -> None:
    shelf = Shelf(100)
    with running(reader_on(tmp_path, shelf, commit_interval_s=INTERVAL_S)):
        eventually(lambda: (tmp_path / "log.db").exists() and kinds(tmp_path) == [Kind.BOOT], "the boot row")
        put(shelf, made(0))
        # Nothing is committed early: some cycles later it still waits.
        threading.Event().wait(3 * LOOK_EVERY_NS / 1e9)
        assert kinds(tmp_path) == [Kind.BOOT]
        with shelf.wake:
            shelf.ring.take()
        put(shelf, made(INTERVAL_S * 1_000 - WAKING_NS // 2_000_000), made(0))
        eventually(lambda: kinds(tmp_path) == [Kind.BOOT, Kind.VOLUME, Kind.VOLUME], "both, in one commit")


@pytest.mark.parametrize("polled", [0, 3])
def test_told_to_stop_while_it_starts_it_commits_what_was_polled(tmp_path: Path, polled: int) -> None:
    # Polling has begun when the signal comes, and no cycle has been.
    shelf = Shelf(100)

    def stopped_here(_log: EventLog, _shelf: Shelf) -> list[MeterPoller]:
        put(shelf, *islice(drafts(stream_header()), polled))
        reader.stop()
        return []

    reader = reader_on(tmp_path, shelf, make_pollers=stopped_here)
    reader.run()
    assert kinds(tmp_path) == [Kind.VOLUME] * polled + [Kind.BOOT, Kind.SHUTDOWN]
