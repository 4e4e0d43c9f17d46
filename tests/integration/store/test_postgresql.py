"""What is PostgreSQL's own: its schema and months, lost connections, settings that would break the promise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.store import migrating
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.partitions import let_go, make_partitions, month_start_ms
from aquasmart_cloud.store.placeholders import translated
from aquasmart_cloud.store.schema import metadata
from tests.fakes.postgres import Postgres
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run

pytestmark = pytest.mark.needs("postgresql")

BASE = 1_000_000
DAY_MS = 86_400_000


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[Database]:
    name = postgres.fresh(empty=True)
    database = Database(postgres.url(name))
    yield database
    database.close()
    postgres.drop(name)


@pytest.fixture
def cloud(postgres: Postgres, tmp_path: Path) -> Iterator[CloudUnderTest]:
    name = postgres.fresh()
    made = CloudUnderTest(tmp_path, postgres.url(name))
    yield made
    made.close()
    postgres.drop(name)


def test_the_migrations_make_the_schema(empty: Database) -> None:
    assert migrating.current_revision(empty) is None
    assert migrating.upgrade(empty) == migrating.upgrade(empty) == migrating.newest_revision()
    assert migrating.current_revision(empty) == migrating.newest_revision()
    make_partitions(empty, NOW_MS)

    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or name in metadata.tables

    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": ours})
        found = compare_metadata(context, metadata)
    # Comments stand in the source: SQLite has none, and migrations make both alike.
    assert [each for each in found if "comment" not in str(each[0])] == []


def test_two_upgrades_at_once_follow_each_other(empty: Database) -> None:
    faults: list[BaseException] = []

    def upgrade() -> None:
        other = Database(empty.url)
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
    assert migrating.current_revision(empty) == migrating.newest_revision()


def test_a_migration_that_fails_leaves_nothing_behind(empty: Database) -> None:
    with empty.writing() as connection:
        connection.execute("CREATE TABLE stream (x INTEGER)")
    with pytest.raises(DatabaseError, match="cannot bring"):
        migrating.upgrade(empty)
    with empty.reading() as connection:
        found = connection.execute("SELECT relname FROM pg_class WHERE relname IN ('stream', 'batch', 'station')")
        assert found.fetchall() == [("stream",)]


def test_over_loopback_and_through_a_pooler_that_keeps_no_statement(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.fresh()
    cloud = CloudUnderTest(tmp_path, postgres.url(name, tcp=True) + "?prepare=never")
    sender, run = cloud.station(), Run(BASE)
    for _ in range(3):
        sender.take(run.batch([1, 2, 3]))
    cloud.assert_books_balance()
    with cloud.database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert cloud.client.get("/readyz").status_code == 200
    cloud.close()
    postgres.drop(name)


def test_a_connection_that_the_server_closed_is_replaced(cloud: CloudUnderTest, postgres: Postgres) -> None:
    sender, run = cloud.station(), Run(BASE)
    sender.take(run.batch([1]))
    postgres.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'aquasmart-cloud'"
    )
    sender.take(run.batch([1]))
    assert cloud.client.get("/readyz").status_code == 200
    assert cloud.one("SELECT events FROM station") == 2


def test_a_connection_that_dies_within_a_transaction_is_a_fault_and_nothing_is_stored(
    cloud: CloudUnderTest, postgres: Postgres
) -> None:
    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO sign_in_link VALUES ('a', 1, NULL)")
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        postgres.execute(f"SELECT pg_terminate_backend({pid})")

    with pytest.raises(DatabaseError):
        cloud.database.write(work)
    assert cloud.one("SELECT count(*) FROM sign_in_link") == 0


def test_a_server_that_is_away_is_a_503_with_a_wait(cloud: CloudUnderTest, postgres: Postgres) -> None:
    sender, run = cloud.station(), Run(BASE)
    batch = run.batch([1])
    sender.take(batch)
    postgres.stop("immediate")
    try:
        answer = sender.send(run.batch([2]))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert cloud.client.get("/readyz").status_code == 503
        with pytest.raises(DatabaseError) as caught:
            cloud.database.connection()
        assert "is the server running" in caught.value.hint
    finally:
        postgres.start()
    assert sender.take(batch)["inserted"] == 0


@pytest.mark.parametrize("setting", ["synchronous_commit"])
def test_a_server_that_acknowledges_too_early_is_refused(
    cloud: CloudUnderTest, postgres: Postgres, setting: str
) -> None:
    name = cloud.one("SELECT current_database()")
    postgres.execute(f"ALTER DATABASE {name} SET {setting} = off")
    other = Database(cloud.database.url)
    with pytest.raises(DatabaseError, match="power cut"):
        other.connection()
    other.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused(postgres: Postgres, encoding: str) -> None:
    """What `createdb` makes on a server whose cluster was made without a locale; nothing is written to it."""
    name = f"in_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    database = Database(postgres.url(name))
    for work in (
        database.connection,
        lambda: migrating.upgrade(database),
        lambda: migrating.current_revision(database),
    ):
        with pytest.raises(DatabaseError, match=encoding) as caught:
            work()
        assert "createdb --encoding UTF8" in caught.value.hint
    database.close()
    postgres.drop(name)


def test_a_password_is_never_shown() -> None:
    database = Database("postgresql://who:secret@nowhere.invalid/aquasmart")
    assert "secret" not in database.name
    with pytest.raises(DatabaseError) as caught:
        database.connection()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "sent", "order"),
    [
        ("SELECT ?, ?", b"SELECT $1, $2", None),
        ("SELECT ?2, ?1, ?2", b"SELECT $1, $2, $3", (1, 0, 1)),
        ("SELECT '?', \"a?\", ? || 'it''s ?'", b"SELECT '?', \"a?\", $1 || 'it''s ?'", None),
    ],
)
def test_placeholders(written: str, sent: bytes, order: tuple[int, ...] | None) -> None:
    assert translated(written) == (sent, order)


def test_months_are_made_ahead_and_take_what_lay_in_none(cloud: CloudUnderTest) -> None:
    sender, run = cloud.station(), Run(BASE)
    first = run.batch([1, 1], rows=[{"row": 0, "kind": "pour", "data": {"ul": 7}}])
    sender.take(first)
    assert cloud.one("SELECT count(*) FROM batch_default") == 1
    made = make_partitions(cloud.database, NOW_MS)
    assert len(made) == 8
    assert make_partitions(cloud.database, NOW_MS) == []
    assert cloud.one("SELECT count(*) FROM batch_default") == cloud.one("SELECT count(*) FROM notable_default") == 0
    sender.take(run.batch([2]))
    assert sender.take(first)["inserted"] == 0
    assert cloud.query("SELECT count(DISTINCT tableoid), count(*) FROM batch") == [(1, 2)]
    cloud.now_ms += 40 * DAY_MS
    sender.take(run.batch([3]))
    assert cloud.query("SELECT count(DISTINCT tableoid), count(*) FROM batch") == [(2, 3)]
    cloud.assert_books_balance()


def test_a_month_let_go_is_dropped_and_its_replay_counts_nothing(cloud: CloudUnderTest) -> None:
    make_partitions(cloud.database, NOW_MS)
    sender, run = cloud.station(), Run(BASE)
    batches = [run.batch([1, 2]) for _ in range(2)]
    sender.take(batches[0])
    cloud.now_ms += 40 * DAY_MS
    sender.take(batches[1])
    assert let_go(cloud.database, 12, cloud.now_ms) == {"batch": 0, "notable": 0}
    assert let_go(cloud.database, 1, cloud.now_ms + 31 * DAY_MS)["batch"] == 1
    assert cloud.one("SELECT count(*) FROM batch") == 1
    before = cloud.stored()
    for batch in batches:
        assert sender.take(batch)["inserted"] == 0
    assert cloud.stored() == before
    cloud.assert_books_balance()


def test_month_arithmetic() -> None:
    assert month_start_ms(2026, 1) - month_start_ms(2025, 12) == 31 * DAY_MS
    assert month_start_ms(2025, 13) == month_start_ms(2026, 1)
    assert month_start_ms(2026, 0) == month_start_ms(2025, 12)
