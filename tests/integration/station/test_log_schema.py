"""The schema's second version: migrated once, whoever comes first; old software opens it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aquasmart_station.adapters import log_file
from aquasmart_station.adapters.log_file import open_log
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.errors import LogError
from tests.integration.station.log_bench import START, Bench, header, volumes


def old_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log as version 1 of the schema made it."""
    monkeypatch.setattr(log_file, "SCHEMA_VERSION", 1)
    writer = LogWriter(path)
    writer.open()
    writer.append(volumes(header(), START + 1, 50))
    writer.close()
    monkeypatch.undo()


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_log_of_version_1_is_migrated_with_its_rows_and_the_old_software_still_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    old_log(path, monkeypatch)
    assert not {"boot_clock", "cloud_time"} & tables(path)
    bench = Bench(path)
    assert {"boot_clock", "cloud_time"} <= tables(path)
    assert len(bench.batch().rows) == 50
    bench.close()
    monkeypatch.setattr(log_file, "SCHEMA_VERSION", 1)
    old = LogWriter(path)
    old.open()
    resume = old.resume("tap-1")
    assert resume is not None
    assert resume.counts == START + 50
    assert old.append(volumes(header(opening=START + 50), START + 51, 1))[0].position == 51
    old.close()


def test_two_processes_that_migrate_at_once_do_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.db"
    old_log(path, monkeypatch)
    program = (
        "import sys; from pathlib import Path; from aquasmart_station.adapters.log_file import open_log;"
        "sys.stdin.readline(); c = open_log(Path(sys.argv[1]), create=True);"
        "print(c.execute('PRAGMA user_version').fetchone()[0], c.execute('SELECT count(*) FROM event').fetchone()[0])"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    assert [racer.communicate(timeout=30)[0] for racer in racers] == ["3 50\n"] * 4


def test_a_log_of_another_major_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path, create=True)) as connection:
        connection.execute("CREATE TABLE tomorrow (one INTEGER)")
        connection.execute("PRAGMA user_version = 1001")
    with pytest.raises(LogError, match="another major"):
        open_log(path, create=True)
