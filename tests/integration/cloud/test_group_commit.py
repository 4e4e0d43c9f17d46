"""Writers that share a commit: each keeps its own outcome, and nobody is told of what is not on the disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.sqlite import Sqlite

Work = Callable[[sqlite3.Connection], int]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Sqlite]:
    path = tmp_path / "group.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE note (id INTEGER PRIMARY KEY,"
            " parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    connection.close()
    made = Sqlite(f"sqlite:///{path}")
    yield made
    made.close()


def notes(database: Sqlite) -> list[int]:
    with sqlite3.connect(database.name) as connection:
        found = [row[0] for row in connection.execute("SELECT id FROM note ORDER BY id")]
    connection.close()
    return found


def insert(number: int, parent: int | None = None) -> Work:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO note VALUES (?, ?)", (number, parent))
        return number

    return work


def together(database: Sqlite, works: list[Work]) -> list[Future[int]]:
    """Run works so that they certainly share one transaction: they queue up behind one that waits for them."""
    queued = threading.Event()

    def first(connection: sqlite3.Connection) -> int:
        assert queued.wait(10)
        return insert(0)(connection)

    def run(work: Work) -> int:
        try:
            return database.write(work)
        finally:
            database.close()

    with ThreadPoolExecutor(len(works) + 1) as pool:
        pool.submit(run, first)
        while not database._group._led or database._group._queue:
            time.sleep(0.001)
        futures = []
        for number, work in enumerate(works, 1):
            futures.append(pool.submit(run, work))
            while len(database._group._queue) < number:
                time.sleep(0.001)
        queued.set()
    return futures


def test_each_writer_gets_its_own_result(database: Sqlite) -> None:
    futures = together(database, [insert(number) for number in range(1, 6)])
    assert [future.result() for future in futures] == [1, 2, 3, 4, 5]
    assert notes(database) == [0, 1, 2, 3, 4, 5]


def test_one_that_is_refused_takes_nothing_of_the_others(database: Sqlite) -> None:
    def refused(connection: sqlite3.Connection) -> int:
        insert(9)(connection)
        raise Refusal("sequence-gap", "no")

    first, second, third = together(database, [insert(1), refused, insert(3)])
    assert (first.result(), third.result()) == (1, 3)
    with pytest.raises(Refusal):
        second.result()
    assert notes(database) == [0, 1, 3]


def test_one_whose_statement_fails_takes_nothing_of_the_others(database: Sqlite) -> None:
    first, second, third = together(database, [insert(1), insert(1), insert(3)])
    assert (first.result(), third.result()) == (1, 3)
    with pytest.raises(DatabaseError, match="UNIQUE"):
        second.result()
    assert notes(database) == [0, 1, 3]


def test_when_the_commit_fails_nobody_is_told_of_success(database: Sqlite) -> None:
    futures = together(database, [insert(1), insert(2, parent=77), insert(3)])
    for future in futures:
        with pytest.raises(DatabaseError, match="FOREIGN KEY"):
            future.result()
    assert notes(database) == [0]
    assert database.write(insert(4)) == 4


def test_when_the_transaction_is_gone_the_whole_group_fails(database: Sqlite) -> None:
    def gone(connection: sqlite3.Connection) -> int:
        connection.execute("ROLLBACK")  # what a full disk does
        raise sqlite3.OperationalError("database or disk is full")

    for future in together(database, [insert(1), gone, insert(3)]):
        with pytest.raises(DatabaseError, match="full"):
            future.result()
    assert notes(database) == [0]


def test_a_refusal_alone_leaves_nothing(database: Sqlite) -> None:
    def refused(connection: sqlite3.Connection) -> int:
        insert(9)(connection)
        raise Refusal("sequence-gap", "no")

    with pytest.raises(Refusal):
        database.write(refused)
    assert notes(database) == []
    assert database.write(insert(1)) == 1


def test_many_more_writers_than_fit_one_group(database: Sqlite) -> None:
    futures = together(database, [insert(number) for number in range(1, 80)])
    assert [future.result() for future in futures] == list(range(1, 80))
    assert len(notes(database)) == 80
