"""A real SIGKILL of the real code at every boundary there is, all of them enumerated; then everything goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aquasmart_station.adapters.examination import examine
from aquasmart_station.adapters.log_writer import LogWriter
from tests.integration.station import crash_scenes
from tests.integration.station.crash_scenes import A, B
from tests.integration.station.some_logs import START, checker, delivered_counts, merged, next_run, rows_of

pytestmark = pytest.mark.timeout(280)
NOW = START + 1_000
KilledEverywhere = Callable[[str], Iterator[tuple[int, Path]]]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing that it gave to the kernel, on any disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def killed_everywhere(tmp_path: Path, record_property: Callable[[str, object], None]) -> KilledEverywhere:
    """For a scene: a folder for each boundary, in which it was killed there; a last one where it was not."""

    def run(scene: str) -> Iterator[tuple[int, Path]]:
        boundaries = kill_everywhere(scene, tmp_path)
        record_property("counted", f"{scene}: killed at each of {boundaries} boundaries")
        return ((number, tmp_path / "killed" / str(number)) for number in range(1, boundaries + 2))

    return run


def kill_everywhere(scene: str, tmp_path: Path) -> int:
    """Run the scene once for each boundary, killed there, and once to its end. Gives the number of boundaries."""
    prepare, work = crash_scenes.SCENES[scene]
    prepared, target = tmp_path / "prepared", tmp_path / "killed"
    prepared.mkdir()
    target.mkdir()
    prepare(str(prepared))
    words = [f"{work.__module__}:{work.__name__}", str(prepared), str(target)]
    done = subprocess.run([sys.executable, "-m", "tests.fakes.boundaries", *words], capture_output=True, text=True)
    assert done.returncode == 0, done
    return int(done.stdout)


def integrity(log: Path) -> str:
    with closing(sqlite3.connect(log)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def goes_on(log: Path) -> None:
    """The log is sound, and the next run's first row finds its place."""
    found = examine(log, mono_s=lambda: 0.0)
    assert found.damage == []
    next_run(log, NOW)
    assert integrity(log) == "ok"


@pytest.mark.parametrize("scene", ["open and migrate", "open after a cut"])
def test_opening(tmp_path: Path, killed_everywhere: KilledEverywhere, scene: str) -> None:
    for number, folder in killed_everywhere(scene):
        before = rows_of(tmp_path / "prepared" / "log.db") if scene != "open and migrate" else {}
        goes_on(folder / "log.db")
        after = rows_of(folder / "log.db")
        assert len(after) == len(before) + 1, number
        assert before.items() <= after.items()


def test_append_is_all_or_nothing_and_what_follows_is_gapless(
    tmp_path: Path, killed_everywhere: KilledEverywhere
) -> None:
    seen = set()
    for number, folder in killed_everywhere("append"):
        log = folder / "log.db"
        rows = _rows(log)
        by_stream: dict[bytes, list[tuple[int, int]]] = {}
        for _, identity, seq, counts in rows:
            by_stream.setdefault(identity, []).append((seq, counts))
        for pieces in by_stream.values():
            assert [seq for seq, _ in pieces] == list(range(1, len(pieces) + 1)), number
        lengths = tuple(len(by_stream.get(each.bytes, [])) for each in (A, B, crash_scenes.OWN))
        # Whole appends only: 3 rows and a meterless one; 4; 2 of the next stream and a meterless one; one more.
        assert lengths in {(0, 0, 0), (3, 0, 1), (7, 0, 1), (7, 2, 2), (7, 2, 3)}, (number, lengths)
        seen.add(lengths)
        assert [position for position, *_ in rows] == list(range(1, len(rows) + 1))
        goes_on(log)
        _assert_tiles(log, START)
    assert len(seen) == 5  # the enumeration saw every state there can be


def test_a_mark_is_moved_or_not(tmp_path: Path, killed_everywhere: KilledEverywhere) -> None:
    for number, folder in killed_everywhere("move a mark"):
        log = folder / "log.db"
        before = rows_of(tmp_path / "prepared" / "log.db")
        with closing(sqlite3.connect(log)) as connection:
            marks = connection.execute("SELECT acked_seq, acked_counts FROM delivery ORDER BY stream").fetchall()
        assert marks in ([], [(1, 0)], [(1, 0), (20, START + 60)]), (number, marks)
        assert rows_of(log) == before
        goes_on(log)
        _assert_tiles(log, START)


def test_a_salvage_cut_anywhere_ends_in_the_same_log(tmp_path: Path, killed_everywhere: KilledEverywhere) -> None:
    results: list[Any] = []
    for number, folder in killed_everywhere("check and salvage"):
        log = folder / "log.db"
        began = (folder / "log.db.salvage").exists()
        verdict = checker(folder).check()
        assert not (folder / "log.db.salvage").exists()
        assert checker(folder).check(full=True).state == "sound"
        quarantined = list((folder / "quarantine").iterdir())
        assert len(quarantined) == 1, (number, verdict.state, began)
        assert {"log.db", "log.db-wal", "log.db-shm", "report.txt", "report.json"} <= {
            path.name for path in quarantined[0].iterdir()
        }, number
        assert sorted(path.name for path in folder.iterdir()) == ["log.db", "log.lock", "quarantine"], number
        # The word to the operator is there once; its stream is a fresh one each time it is written.
        rows = {position: row for position, row in rows_of(log).items() if row[5] != 13}
        said = [row[10] for row in rows_of(log).values() if row[5] == 13]
        assert len(said) == 1
        next_run(log, NOW)
        assert said[0].count('"salvage"') == 1
        results.append((rows, merged(delivered_counts(log))))
    assert all(result == results[0] for result in results)
    assert results[0][1] == [(START, NOW)]
    assert len(results[0][0]) == 107


def _rows(log: Path) -> list[tuple[int, bytes, int, int]]:
    """As another process would see them after the crash."""
    if not log.exists():
        return []
    with closing(sqlite3.connect(log)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'event'").fetchone():
            return []
        query = "SELECT position, s.id, seq, counts FROM event JOIN stream s USING (stream) ORDER BY position"
        return [(p, bytes(identity), seq, counts) for p, identity, seq, counts in connection.execute(query)]


def _assert_tiles(log: Path, start: int) -> None:
    """Everything that is delivered in the end is every count, once."""
    intervals = delivered_counts(log)
    if any(low == start for low, _ in intervals):
        assert merged(intervals) == [(start, NOW)]
        assert sum(high - low for low, high in intervals) == NOW - start


def test_a_writer_that_is_opened_again_writes_on(tmp_path: Path) -> None:
    """The same object, closed and opened: positions go on."""
    log = tmp_path / "log.db"
    crash_scenes.append_streams(str(tmp_path))
    writer = LogWriter(log)
    writer.open()
    assert writer.resume("tap-1").counts == START + 27  # type: ignore[union-attr]
    writer.close()
