"""Moving house and backups: every row arrives, a broken copy goes on, and nothing is copied over something else."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.store.auditing import verify_station
from aquasmart_cloud.store.copying import CopyError, copy_database
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.saving import back_up, restore
from aquasmart_cloud.store.stations import Stations
from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import MASTER_KEY, NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store.conftest import BASE
from tests.integration.store.stores import Store

Run_ = Callable[..., tuple[int, str, str]]


class BrokenOff(Exception):
    """What a test does to a copy."""


@pytest.fixture
def elsewhere(store: Store, postgres: Postgres, tmp_path: Path) -> Iterator[Database]:
    """An empty database of the other kind."""
    if store.kind == "postgresql":
        (tmp_path / "moved").mkdir()
        database = Database(f"sqlite:///{tmp_path}/moved/cloud.db")
        yield database
        database.close()
        return
    name = postgres.fresh(empty=True)
    database = Database(postgres.url(name))
    yield database
    database.close()
    postgres.drop(name)


pytestmark = pytest.mark.needs("postgresql")


def after(number: int) -> Callable[..., None]:
    """Breaks off when it has been told of progress so many times."""
    told = iter(range(number))

    def progress(*_: object) -> None:
        if next(told, None) is None:
            raise BrokenOff

    return progress


def rows(database: Database, table: str) -> list[str]:
    with database.reading() as connection:
        found = connection.execute(f"SELECT * FROM {table}").fetchall()
    return sorted(repr([int(value) if isinstance(value, bool) else value for value in row]) for row in found)


def assert_alike(one: Database, other: Database) -> None:
    for table in ("station", "station_key", "stream", "epoch", "ledger_interval", "batch", "rollup", "ledger_entry"):
        assert rows(one, table) == rows(other, table), table
        assert rows(one, table)


def test_everything_arrives_and_the_stations_go_on(
    filled: CloudUnderTest, sender: Sender, elsewhere: Database, tmp_path: Path
) -> None:
    copied = copy_database(filled.database, elsewhere, NOW_MS)
    assert_alike(filled.database, elsewhere)
    assert copied.tables["batch"] == filled.one("SELECT count(*) FROM batch")
    assert copied.totals["volume_ul"] == filled.one("SELECT volume_ul FROM station")
    assert verify_station(elsewhere, Stations(elsewhere, MASTER_KEY), "demo-1").findings == ()
    moved = CloudUnderTest(tmp_path / "moved", elsewhere.url)
    again = Sender(moved, "demo-1", sender.key_id, sender.key)
    again.take(Run(BASE + 5_000).batch([3, 3]))
    moved.assert_books_balance()
    moved.close()


@pytest.mark.parametrize("portions", [1, 4, 9, 14, 20, 30])
def test_a_copy_that_was_broken_off_goes_on(filled: CloudUnderTest, elsewhere: Database, portions: int) -> None:
    with pytest.raises(BrokenOff):
        copy_database(filled.database, elsewhere, NOW_MS, after(portions))
    copy_database(filled.database, elsewhere, NOW_MS)
    assert_alike(filled.database, elsewhere)
    with pytest.raises(CopyError, match="not empty"):
        copy_database(filled.database, elsewhere, NOW_MS)


def test_what_changed_meanwhile_is_not_mixed(filled: CloudUnderTest, sender: Sender, elsewhere: Database) -> None:
    with pytest.raises(BrokenOff):
        copy_database(filled.database, elsewhere, NOW_MS, after(9))
    sender.take(Run(BASE + 5_000).batch([3, 3]))
    with pytest.raises(CopyError, match="changed since"):
        copy_database(filled.database, elsewhere, NOW_MS)


def test_a_copy_that_is_not_alike_is_found(filled: CloudUnderTest, elsewhere: Database) -> None:
    with pytest.raises(BrokenOff):
        copy_database(filled.database, elsewhere, NOW_MS, after(30))
    with elsewhere.writing() as connection:
        assert connection.execute("UPDATE ledger_interval SET to_counts = to_counts - 1").rowcount > 0
    with pytest.raises(CopyError, match="ledger_counts"):
        copy_database(filled.database, elsewhere, NOW_MS)


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


def test_a_source_of_another_version_is_refused(cloud: CloudUnderTest, elsewhere: Database, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.close()
    old = Database(f"sqlite:///{path}")
    with pytest.raises(CopyError, match="this version's schema"):
        copy_database(old, elsewhere, NOW_MS)
    old.close()


def test_the_commands(filled: CloudUnderTest, elsewhere: Database, command: Run_, tmp_path: Path) -> None:
    code, out, err = command("backup", str(tmp_path / "b.db"))
    assert code == 0, err
    assert "master.key" in out
    code, out, err = command("db", "copy", filled.database.url, elsewhere.url)
    assert code == 0, err
    assert "every column verified" in out
    code, _, err = command("db", "copy", filled.database.url, elsewhere.url, "--json")
    assert code == 1
    assert "not empty" in err
    code, _, err = command("restore", str(tmp_path / "b.db"))
    assert code == 1
    assert "not empty" in err
    code, out, _ = command("db", "upgrade", "--json")
    assert code == 0
    assert json.loads(out)["revision"]
    code, _, err = command("db", "let-go")
    assert code == 1
    assert "AQUASMART_RETENTION_MONTHS" in err
    code, out, _ = command("db", "let-go", "--keep-months", "120", "--json")
    assert (code, json.loads(out)["deleted"]) == (0, {"batch": 0, "notable": 0})
    assert_alike(filled.database, elsewhere)
