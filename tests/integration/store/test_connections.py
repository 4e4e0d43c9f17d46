"""What every store module relies on, on each store: one form of statement, all or nothing, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.connection import Connection
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.senders import CloudUnderTest
from tests.integration.store.stores import Store

LINK = "INSERT INTO sign_in_link (digest, expires_at) VALUES (?, ?)"
COUNT = "SELECT count(*) FROM sign_in_link"
EPOCH = "0b9c1f6e5c1f4f7e8a370f1be1a3c0ff"


@pytest.fixture
def database(cloud: CloudUnderTest) -> Iterator[Database]:
    other = Database(cloud.database.url)
    yield other
    other.close()


def links(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(COUNT).fetchone()[0])


def insert(digest: str) -> object:
    return lambda connection: connection.execute(LINK, (digest, 7)).rowcount


@pytest.mark.parametrize("station", [None, "demo-1"])
def test_values_come_back_as_they_went(database: Database, cloud: CloudUnderTest, station: str | None) -> None:
    cloud.station()
    values = ("demo-1", "µ'?\"\n", EPOCH, None, True, (1 << 63) - 1, -5, EPOCH, 0, 0, 1)
    with database.writing(station) as connection:
        connection.execute(
            "INSERT INTO epoch (station_id, meter_id, epoch, identity, identity_strong, modulus, epoch_from,"
            " root_epoch, shift_counts, counts_through, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        found = connection.execute("SELECT * FROM epoch WHERE meter_id = ?2 AND epoch = ?1", (EPOCH, values[1]))
        assert [column[0] for column in found.description][:3] == ["station_id", "meter_id", "epoch"]
        assert list(found) == [values]
        connection.execute("UPDATE epoch SET identity = '?' WHERE epoch = ?", (EPOCH,))
    with database.reading() as connection:
        total, text = connection.execute("SELECT sum(modulus), max(identity) FROM epoch").fetchone()
        assert (total, type(total), text) == ((1 << 63) - 1, int, "?")
        assert connection.execute("SELECT 1 FROM epoch WHERE epoch = ?", ("f" * 32,)).fetchone() is None


def test_bytes_of_any_length_come_back(database: Database, cloud: CloudUnderTest) -> None:
    cloud.station()
    body = bytes(range(256)) * 40_000
    with database.writing() as connection:
        connection.execute("INSERT INTO station_key VALUES (?, ?, ?, ?, NULL)", ("demo-1", "k9", body, 1))
    with database.reading() as connection:
        assert connection.execute("SELECT sealed FROM station_key WHERE key_id = 'k9'").fetchone() == (body,)


def test_many_rows_by_one_statement(database: Database) -> None:
    with database.writing() as connection:
        connection.executemany(LINK, [(f"d{number}", number) for number in range(700)])
        connection.executemany(LINK, [])
    assert links(database) == 700


def test_rows_changed_are_known_at_once(database: Database, cloud: CloudUnderTest) -> None:
    cloud.station()
    seen = []

    def work(connection: Connection) -> None:
        connection.execute(LINK, ("a", 1))
        seen.append(connection.execute("UPDATE sign_in_link SET used_at = 5").rowcount)
        seen.append(connection.execute("UPDATE sign_in_link SET used_at = 6 WHERE used_at IS NULL").rowcount)

    database.write(work, "demo-1")
    assert seen == [1, 0]


@pytest.mark.parametrize("station", [None, "demo-1"])
def test_a_refusal_leaves_nothing(database: Database, cloud: CloudUnderTest, station: str | None) -> None:
    cloud.station()

    def refused(connection: Connection) -> None:
        connection.execute(LINK, ("a", 1))
        raise Refusal("sequence-gap", "no")

    with pytest.raises(Refusal):
        database.write(refused, station)
    with pytest.raises(Refusal), database.writing(station) as connection:
        refused(connection)
    assert links(database) == 0
    database.write(insert("a"), station)
    assert links(database) == 1


@pytest.mark.parametrize("station", [None, "demo-1"])
def test_a_statement_that_fails_leaves_nothing_and_says_why(
    database: Database, cloud: CloudUnderTest, station: str | None
) -> None:
    """Also when nobody looks at its answer: on PostgreSQL it is still on its way when the work returns."""
    cloud.station()

    def twice(connection: Connection) -> str:
        for digest in ("a", "b", "a", "c"):
            connection.execute(LINK, (digest, 1))
        return "done"

    for _ in range(2):
        with pytest.raises(DatabaseError, match=r"UNIQUE|unique"):
            database.write(twice, station)
        with pytest.raises(DatabaseError, match=r"UNIQUE|unique"), database.writing(station) as connection:
            twice(connection)
    with pytest.raises(DatabaseError), database.reading() as connection:
        connection.execute("SELECT nothing FROM nowhere")
    assert links(database) == 0


def test_what_a_block_has_read_is_still_so_when_it_writes(database: Database, cloud: CloudUnderTest) -> None:
    """Read, then write, without a thought about others: eight threads count to two hundred."""
    cloud.station()
    start = threading.Barrier(8)

    def count(_: int) -> None:
        start.wait()
        for _ in range(25):
            with database.writing() as connection:
                (found,) = connection.execute("SELECT events FROM station WHERE station_id = 'demo-1'").fetchone()
                connection.execute("UPDATE station SET events = ? WHERE station_id = 'demo-1'", (found + 1,))
        database.close()

    threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cloud.one("SELECT events FROM station") == 200


def test_stations_do_not_wait_for_each_other_but_for_whoever_writes_alone(store: Store, tmp_path: Path) -> None:
    if store.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with store.cloud(tmp_path) as cloud:
        for station_id in ("one", "two"):
            cloud.station(station_id)
        held, done = threading.Event(), threading.Event()
        alone = threading.Event()

        def other() -> None:
            assert held.wait(20)
            with cloud.database.writing("two"):
                done.set()
            with cloud.database.writing():
                alone.set()
            cloud.database.close()

        thread = threading.Thread(target=other)
        thread.start()
        with cloud.database.writing("one"):
            held.set()
            assert done.wait(20), "a station waits for another"
            assert not alone.wait(0.3), "somebody writes alone beside a station"
        assert alone.wait(20)
        thread.join()
