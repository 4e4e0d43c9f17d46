"""A disk that fails twice: a commit that reached it in spite of its fault, then another fault before that was seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.errors import LogError
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader

START = 1_000_000


class FaultyDisk(sqlite3.Connection):
    """Statements that begin with one of `refused` fail; one COMMIT is done and then reported as failed if `lie`."""

    refused: tuple[str, ...] = ()
    lie = False

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if self.refused and sql.startswith(self.refused):
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(sql, *parameters)
        if sql == "COMMIT" and self.lie:
            self.lie = False
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LogWriter, FaultyDisk]]:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **(k | {"factory": FaultyDisk})))
    writer = LogWriter(tmp_path / "log.db")
    writer.open()
    disk = writer._connection
    assert isinstance(disk, FaultyDisk)
    yield writer, disk
    writer.close()


def _drafts() -> list[Draft]:
    header = StreamHeader(
        id=uuid4(),
        meter_id="tap-1",
        identity=None,
        identity_strong=False,
        epoch=uuid4(),
        epoch_from=START,
        modulus=None,
        opening_counts=START,
        scale=Scale(20_000, 9),
        opened_at_ms=1,
        boot_id="boot",
        meter_boot_id=None,
        hardware_id="hw",
        software="0.1.0",
        clock="ntp",
    )
    return [Draft(header, Kind.VOLUME, 1_000 + n, n, START + n) for n in range(1, 6)]


def _logged(disk: FaultyDisk) -> list[tuple[int, int]]:
    return disk.execute("SELECT seq, counts FROM event ORDER BY position").fetchall()


def test_looking_for_a_doubtful_commit_may_fail_too(log: tuple[LogWriter, FaultyDisk]) -> None:
    writer, disk = log
    drafts = _drafts()
    disk.lie = True
    with pytest.raises(LogError):
        writer.append(drafts[:2])
    disk.refused = ("SELECT",)
    with pytest.raises(LogError):
        writer.append(drafts[:3])
    disk.refused = ()
    rows = writer.append(drafts)
    assert [(row.seq, row.counts) for row in rows] == [(n, START + n) for n in range(1, 6)]
    assert _logged(disk) == [(n, START + n) for n in range(1, 6)]


def test_what_is_new_may_fail_after_the_doubtful_was_found(log: tuple[LogWriter, FaultyDisk]) -> None:
    writer, disk = log
    drafts = _drafts()
    disk.lie = True
    with pytest.raises(LogError):
        writer.append(drafts[:2])
    disk.refused = ("BEGIN",)
    for more in (3, 4):
        with pytest.raises(LogError):
            writer.append(drafts[:more])
    disk.refused = ()
    rows = writer.append(drafts)
    assert [(row.seq, row.counts) for row in rows] == [(n, START + n) for n in range(1, 6)]
    assert _logged(disk) == [(n, START + n) for n in range(1, 6)]


def test_every_commit_reports_a_fault(log: tuple[LogWriter, FaultyDisk]) -> None:
    writer, disk = log
    drafts = _drafts()
    for more in (1, 2, 3, 4):
        disk.lie = True
        with pytest.raises(LogError):
            writer.append(drafts[:more])
    assert len(writer.append(drafts)) == 5
    assert _logged(disk) == [(n, START + n) for n in range(1, 6)]
