"""What is no damage: locks, permissions, failing disks. The log is left where it is, whatever the check is told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aquasmart_station.adapters.examination import examine
from aquasmart_station.adapters.log_file import lock
from aquasmart_station.core.errors import LogBusy, LogError
from tests.integration.station.some_logs import (
    START,
    checker,
    delivered_counts,
    flip,
    merged,
    next_run,
    pages_of,
    rows_of,
    write_log,
)

NOW = START + 1_800 + 500


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_log(folder / "log.db", runs=3, rows=200, acknowledged=250)
    return folder


@pytest.fixture
def log(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "state")
    return tmp_path / "state" / "log.db"


def middle_leaf(log: Path) -> None:
    pages = pages_of(log, "event")
    flip(log, (pages[len(pages) * 3 // 5] - 1) * 1024)


def untouched(log: Path) -> bool:
    return log.exists() and not (log.parent / "quarantine").exists() and not (log.parent / "log.db.salvage").exists()


def test_while_a_service_holds_the_log_it_is_only_looked_at(log: Path) -> None:
    held = lock(log.parent / "log.lock", exclusive=False)
    assert checker(log.parent).check().state == "busy"
    middle_leaf(log)
    assert checker(log.parent).check(full=True).state == "damaged"
    assert untouched(log)
    os.close(held)
    assert checker(log.parent).check().state == "salvaged"


def test_a_locked_file_is_busy(log: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LogBusy):
            checker(log.parent).check()
    assert untouched(log)


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogError, match="unable to open"):
        checker(tmp_path).check()
    assert untouched(tmp_path / "log.db")


LOOK_AS_NOBODY = """
import os, sys
from pathlib import Path
from aquasmart_station.core.errors import LogError
from aquasmart_station.adapters.examination import examine
from aquasmart_station.adapters.log_file import SCHEMA_VERSION, schema_of
schema_of(SCHEMA_VERSION)  # the package itself may be out of nobody's reach
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(examine(Path(sys.argv[1]), mono_s=lambda: 0.0).damage)
except LogError as fault:
    print(type(fault).__name__, fault)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can get to; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("how", ["unreadable file", "read-only folder", "everything as it should be"])
def test_a_missing_permission_is_an_error(log: Path, open_folder: Path, how: str) -> None:
    copy = open_folder / "log.db"
    shutil.copyfile(log, copy)
    copy.chmod(0o000 if how == "unreadable file" else 0o644)
    if how == "read-only folder":
        # With a -wal to be read, SQLite must make a -shm beside it, and cannot.
        copy.with_name("log.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(60))
        open_folder.chmod(0o555)
    said = subprocess.run([sys.executable, "-c", LOOK_AS_NOBODY, str(copy)], capture_output=True, text=True)
    open_folder.chmod(0o755)
    assert said.stdout.startswith("[]" if how.startswith("everything") else "LogError"), said


INJECTED = """
import sys
from pathlib import Path
from tests.integration.station.some_logs import checker
from aquasmart_station.core.errors import LogDamaged, LogError
try:
    print(checker(Path(sys.argv[1])).check().state)
except LogError as fault:
    print(type(fault).__name__, fault)
"""


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("call", "errno", "damaged"),
    [
        ("pread64,read", "EIO", False),
        ("pread64,read", "EIO", True),
        ("pwrite64", "ENOSPC", True),
        ("pwrite64", "EIO", True),
    ],
)
def test_a_disk_that_fails_is_an_error_and_never_a_reason_to_give_up(
    log: Path, tmp_path: Path, call: str, errno: str, damaged: bool
) -> None:
    """The kernel's own answers, injected: reading fails; or the salvaged log cannot be written."""
    if damaged:
        middle_leaf(log)
    target = log if "read" in call else log.with_name("log.db.new")
    command = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"inject={call}:error={errno}:when=3+"]
    paths = [word for end in ("", "-wal") for word in ("-P", f"{target}{end}")]
    said = subprocess.run(
        [*command, *paths, sys.executable, "-c", INJECTED, str(log.parent)], capture_output=True, text=True
    )
    assert said.stdout.startswith("LogError"), said
    if "read" in call:
        assert untouched(log)
    verdict = checker(log.parent).check()
    assert verdict.state == ("salvaged" if damaged else "sound")
    assert rows_of(log)


FORCED = INJECTED.replace("check()", "check(full=True, force=True)")


@pytest.mark.needs("strace")
def test_what_a_failing_card_still_gives_is_saved_when_a_person_asks(log: Path, tmp_path: Path) -> None:
    """One read of many fails for good: the rest is saved."""
    moved = log.parent / "quarantine" / "20251120T230000Z" / "log.db"
    command = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "inject=pread64:error=EIO:when=30..30+5"]
    said = subprocess.run(
        [*command, "-P", str(moved), sys.executable, "-c", FORCED, str(log.parent)], capture_output=True, text=True
    )
    assert said.stdout == "salvaged\n", said
    figures = json.loads((moved.parent / "report.json").read_text())["salvage"]
    assert figures["pages_unreadable"] >= 1
    assert 0 < figures["rows"] <= 603
    next_run(log, NOW)
    assert merged(delivered_counts(log)) == [(START, NOW)]


def test_a_quick_look_ends_in_time_and_begins_at_the_end(log: Path) -> None:
    clock = iter(range(10_000_000))
    found = examine(log, mono_s=lambda: float(next(clock)), within_s=0.5)
    assert (found.all_rows, found.structure) == (True, "cut short by time")
    assert examine(log, mono_s=lambda: 0.0).structure == "sound"
