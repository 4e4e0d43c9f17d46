"""Moving house: every row arrives, a broken copy goes on, and nothing is copied over something else."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from aquasmart_cloud.store import bulk
from aquasmart_cloud.store.auditing import verify_station
from aquasmart_cloud.store.copying import CopyError, copy_database
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import MASTER_KEY, NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store import everything
from tests.integration.store.conftest import BASE

Run_ = Callable[..., tuple[int, str, str]]


class BrokenOff(Exception):
    """What a test does to a copy."""


PARTITIONS = ("batch_", "notable_")
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


def test_a_source_that_goes_on_is_refused_unless_its_moment_is_enough(
    filled: CloudUnderTest, sender: Sender, elsewhere: Database
) -> None:
    run = Run(BASE + 9_000)
    came = iter([run.batch([1, 2])])

    def meanwhile(*_: object) -> None:
        if (batch := next(came, None)) is not None:
            sender.take(batch)

    with pytest.raises(CopyError, match=r"written while.*batch \+1"):
        copy_database(filled.database, elsewhere, NOW_MS, meanwhile)
    with pytest.raises(CopyError, match="changed since"):
        copy_database(filled.database, elsewhere, NOW_MS)


def test_a_moment_of_a_running_cloud_is_whole(filled: CloudUnderTest, sender: Sender, elsewhere: Database) -> None:
    run = Run(BASE + 9_000)

    def meanwhile(*_: object) -> None:
        sender.take(run.batch([1, 2]))

    before = filled.one("SELECT volume_ul FROM station")
    copied = copy_database(filled.database, elsewhere, NOW_MS, meanwhile, moment_is_enough=True)
    assert copied.totals["volume_ul"] == before
    assert copied.since["batch"] > 1
    assert verify_station(elsewhere, Stations(elsewhere, MASTER_KEY), "demo-1").findings == ()


def test_every_table_is_copied_with_every_column(cloud: CloudUnderTest, elsewhere: Database) -> None:
    """Whatever tables there are: what the database has is what the schema lists, and all of it arrives."""
    everything.fill(cloud.database)
    copied = copy_database(cloud.database, elsewhere, NOW_MS)
    assert set(copied.tables.values()) == {everything.ROWS}
    with cloud.database.engine.connect() as one, elsewhere.engine.connect() as other:
        there = {name for name in inspect(one).get_table_names() if not name.startswith(PARTITIONS)}
        assert there - {"alembic_version"} == set(copied.tables)
        for table in bulk.tables():
            assert table.primary_key.columns, f"{table.name} has no key to be copied by"
            expected, found = (sorted(map(repr, each.execute(select(table)))) for each in (one, other))
            assert expected == found, table.name


def test_nothing_counts_by_itself(postgres: Postgres) -> None:
    """A sequence would stand at 1 after a copy, and give numbers again that are taken."""
    database = Database(postgres.url(name := postgres.fresh()))
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relkind = 'S'").fetchone() == (0,)
    database.close()
    postgres.drop(name)


def test_old_months_get_partitions_of_their_own(cloud: CloudUnderTest, elsewhere: Database) -> None:
    everything.fill(cloud.database)
    copy_database(cloud.database, elsewhere, NOW_MS)
    if elsewhere.kind == "postgresql":
        with elsewhere.reading() as connection:
            assert connection.execute("SELECT count(*) FROM batch_default").fetchone() == (0,)


def test_a_table_that_nobody_knows_is_not_left_behind(cloud: CloudUnderTest, elsewhere: Database) -> None:
    with cloud.database.writing() as connection:
        connection.execute("CREATE TABLE of_somebody (a INTEGER)")
    with pytest.raises(CopyError, match="does not know: of_somebody"):
        copy_database(cloud.database, elsewhere, NOW_MS)


@pytest.mark.timeout(600)
def test_killed_at_one_boundary_after_another_it_ends_with_every_row(
    cloud: CloudUnderTest, elsewhere: Database
) -> None:
    everything.fill(cloud.database)
    kills, at = 0, 40
    while True:
        command = [sys.executable, "-m", "tests.integration.store.killed_copy", cloud.database.url, elsewhere.url]
        done = subprocess.run([*command, str(at)], capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills, at = kills + 1, at + 29
    assert kills > 5
    with cloud.database.engine.connect() as one, elsewhere.engine.connect() as other:
        for table in bulk.tables():
            expected, found = (sorted(map(repr, each.execute(select(table)))) for each in (one, other))
            assert expected == found, table.name


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
