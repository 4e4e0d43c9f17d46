"""The schema is the sum of its migrations, and keeps the rules of a schema that can be distributed."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.store import migrating
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.schema import metadata

FIXED = {"policy", "sign_in_link", "config_document", "lease", "job_run", "fleet_rollup", "fleet_fill"} | {
    *("alert_setting", "webhook", "outbox", "bundle", "rollout"),
}
"""Tables that do not grow with stations; the outbox is a queue that empties, by receiver."""
BY_TIME = {"ix_alert_opened", "ix_rollout_station_rollout"}
"""Indexes that list a table of all owners by time, or by what concerns many of them; not unique, so each node of a
cluster can have its own."""
OWNERS = {"station_id", "client_id"}
"""What a key begins with: the station, or the sender of foreign events."""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/cloud.db")


def _tables(path: Path | str) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        ).fetchall()
    connection.close()
    return {name: " ".join(text.split()) for name, text in rows}


def test_the_migrations_make_exactly_the_schema(database: Database, tmp_path: Path) -> None:
    migrating.upgrade(database)
    engine = create_engine(f"sqlite:///{tmp_path}/direct.db")
    metadata.create_all(engine)
    engine.dispose()
    assert _tables(database.path) == _tables(tmp_path / "direct.db")
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_upgrading_again_changes_nothing(database: Database) -> None:
    assert migrating.upgrade(database) == migrating.upgrade(database) == migrating.newest_revision()
    assert migrating.current_revision(database) == migrating.newest_revision()
    database.close()


def test_two_upgrades_at_once_follow_each_other(database: Database) -> None:
    faults: list[BaseException] = []

    def upgrade() -> None:
        other = Database(database.url)
        try:
            migrating.upgrade(other)
        except DatabaseError as error:
            faults.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert migrating.current_revision(database) == migrating.newest_revision()
    database.close()


def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    with sqlite3.connect(database.path) as connection:
        connection.execute("CREATE TABLE stream (x)")
    connection.close()
    with pytest.raises(DatabaseError, match="cannot bring"):
        migrating.upgrade(database)
    assert set(_tables(database.path)) == {"stream"}
    database.close()


def test_a_missing_database_is_named_and_not_made(database: Database) -> None:
    with pytest.raises(DatabaseError, match="db upgrade"):
        migrating.current_revision(database)
    with pytest.raises(DatabaseError, match="db upgrade"):
        database.connection()
    assert not Path(database.path).exists()


def test_a_file_that_is_no_database_is_named(database: Database) -> None:
    Path(database.path).write_bytes(b"no database, only text that is long enough to be read as a page" * 20)
    with pytest.raises(DatabaseError):
        migrating.current_revision(database)
    with pytest.raises(DatabaseError):
        database.connection()
    database.close()


def test_connections_are_durable(database: Database) -> None:
    migrating.upgrade(database)
    connection = database.connection()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.connection() is connection
    database.close()


@pytest.mark.parametrize("table", sorted(set(metadata.tables) - FIXED))
def test_every_key_begins_with_the_station_or_sender(table: str) -> None:
    found = metadata.tables[table]
    assert next(column.name for column in found.primary_key.columns) in OWNERS
    for index in found.indexes:
        if index.name in BY_TIME and not index.unique:
            continue
        assert next(column.name for column in index.columns) in OWNERS


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_table_names_its_one_writer(table: str) -> None:
    assert (metadata.tables[table].comment or "").startswith("writer: store.")
