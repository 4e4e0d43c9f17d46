"""Backups and the way back: one moment of a running cloud, whole, private, verified, and restored into either store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.store.auditing import verify_station
from aquasmart_cloud.store.copying import CopyError
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.saving import back_up, restore
from aquasmart_cloud.store.stations import Stations
from tests.integration.cloud.senders import MASTER_KEY, NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store import everything
from tests.integration.store.conftest import BASE

Run_ = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.needs("postgresql")


def test_a_backup_while_the_cloud_runs_and_the_way_back(
    filled: CloudUnderTest, sender: Sender, elsewhere: Database, tmp_path: Path
) -> None:
    over = threading.Event()

    def send() -> None:
        run = Run(BASE + 9_000)
        while not over.is_set():
            sender.take(run.batch([1, 2]))
        filled.app.extensions["aquasmart"].database.close()

    thread = threading.Thread(target=send)
    thread.start()
    file = tmp_path / "backup.db"
    try:
        back_up(filled.database, file, NOW_MS)
    finally:
        over.set()
        thread.join()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.glob("backup*")] == ["backup.db"]
    restored = restore(file, elsewhere, NOW_MS)
    assert restored.totals["volume_ul"] > 0
    assert verify_station(elsewhere, Stations(elsewhere, MASTER_KEY), "demo-1").findings == ()
    with pytest.raises(CopyError, match="exists already"):
        back_up(filled.database, file, NOW_MS)
    with pytest.raises(CopyError, match="not empty"):
        restore(file, elsewhere, NOW_MS)


def test_a_damaged_backup_is_refused(filled: CloudUnderTest, elsewhere: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    back_up(filled.database, file, NOW_MS)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatabaseError):
        restore(file, elsewhere, NOW_MS)
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseError, match="cannot be read"):
        restore(file, elsewhere, NOW_MS)


def test_every_table_is_in_a_backup_and_restored(cloud: CloudUnderTest, elsewhere: Database, tmp_path: Path) -> None:
    everything.fill(cloud.database)
    back_up(cloud.database, tmp_path / "backup.db", NOW_MS)
    restored = restore(tmp_path / "backup.db", elsewhere, NOW_MS)
    assert set(restored.tables.values()) == {everything.ROWS}


def test_a_cloud_that_writes_between_any_two_pages_does_not_keep_its_backup_from_ending(
    filled: CloudUnderTest, sender: Sender, tmp_path: Path
) -> None:
    """SQLite by itself would begin anew each time; here what is left only ever becomes less."""
    run, left = Run(BASE + 9_000), list[int]()
    other = Database(filled.database.url)

    def write_meanwhile(_what: str, done: int, of: int) -> None:
        left.append(of - done)
        sender.take(run.batch([1, 2]))

    volume_ul = filled.one("SELECT volume_ul FROM station")
    file = tmp_path / "backup.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aquasmart_cloud.store.saving._PAGES", 5)
        back_up(filled.database, file, NOW_MS, write_meanwhile)
    other.close()
    assert len(left) > 5
    assert left == sorted(left, reverse=True) or filled.database.kind == "postgresql"
    backup = Database(f"sqlite:///{file}")
    with backup.reading() as connection:
        assert connection.execute("SELECT volume_ul FROM station").fetchone() == (volume_ul,)
    backup.close()
    assert volume_ul < filled.one("SELECT volume_ul FROM station")


def test_a_backup_that_was_broken_off_is_begun_anew(filled: CloudUnderTest, sender: Sender, tmp_path: Path) -> None:
    class BrokenOff(Exception):
        pass

    def break_off(*_: object) -> None:
        raise BrokenOff

    file = tmp_path / "backup.db"
    with pytest.raises(BrokenOff):
        back_up(filled.database, file, NOW_MS, break_off)
    assert not file.exists()
    sender.take(Run(BASE + 9_000).batch([1, 2]))
    back_up(filled.database, file, NOW_MS)
    assert [each.name for each in tmp_path.glob("backup*")] == ["backup.db"]


def test_a_restored_backup_is_audited(
    filled: CloudUnderTest, elsewhere: Database, command: Run_, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with filled.database.writing() as connection:
        connection.execute("UPDATE rollup SET events = events + 1 WHERE grain = 'hour'")
    file = str(tmp_path / "b.db")
    assert command("backup", file)[0] == 0
    monkeypatch.setenv("AQUASMART_DATABASE_URL", elsewhere.url)
    code, out, err = command("restore", file, "--json")
    assert (code, json.loads(out)["audit_findings"] > 0) == (1, True)
    assert "audit verify --all" in err
    code, out, _ = command("rebuild", "demo-1")
    assert (code, "made again" in out) == (0, True)
    assert command("audit", "verify", "--all")[0] == 0
