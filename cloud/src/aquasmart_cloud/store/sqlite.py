"""SQLite behind `store.database`: one file, one writer at a time, commits shared by those who wait.

This module opens the file and hands out connections; it knows no table. Reads for pages go through a
SQLAlchemy engine; the ingest path uses one raw connection per thread, kept open, because opening and
SQLAlchemy's own work cost more than the transaction itself.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from aquasmart_cloud.core.errors import DatabaseError

from .committing import GroupCommit
from .connection import T, Work

BUSY_TIMEOUT_MS = 5_000
"""How long a write waits for another *process* (the command line); threads wait on the lock below."""

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode=WAL",
    # An acknowledgement promises that the batch survives a power cut: FULL syncs the WAL at every commit.
    "PRAGMA synchronous=FULL",
    # 16 MB of WAL: a checkpoint then falls into one commit of three hundred instead of one of eighty.
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
)


class Sqlite:
    """The backend of `sqlite:///…`; what the methods promise stands in `store.database`."""

    # SQLite's clock is its machine's; whoever opens the file is on that machine.
    clock = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = threading.local()
        # One writer at a time, decided here and not by SQLite's busy wait: measured p99 4 ms against 35 ms.
        self._write_lock = threading.Lock()
        self._group = GroupCommit(self.writing)

        self.name = make_url(url).database or ":memory:"

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for reads by people's pages and for commands."""
        engine = create_engine(self._url)
        event.listen(engine, "connect", _prepare_for_engine)
        event.listen(engine, "begin", _begin)
        return engine

    def connection(self) -> sqlite3.Connection:
        """This thread's raw connection. Errors: DatabaseError."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._open()
            self._local.connection = found
        return found

    def require(self) -> None:
        """Errors: DatabaseError where there is no file."""
        if not Path(self.name).is_file():
            raise DatabaseError(f"there is no database at {self.name}: run 'aquasmart-cloud db upgrade'")

    def _open(self) -> sqlite3.Connection:
        self.require()
        try:
            connection = sqlite3.connect(self.name, isolation_level=None, cached_statements=256)
            _prepare(connection, None)
        except sqlite3.Error as fault:
            raise DatabaseError(f"cannot open {self.name}: {fault}") from fault
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection for single-statement reads. Errors: DatabaseError."""
        connection = self.connection()
        try:
            yield connection
        except sqlite3.Error as fault:
            self._forget()
            raise DatabaseError(str(fault)) from fault

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: the WAL keeps what it sees. Errors: DatabaseError."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[sqlite3.Connection]:  # noqa: ARG002
        """One transaction; there is one writer at a time, whatever the station.

        A crash before COMMIT returns leaves the transaction out of the WAL's valid part. Errors: DatabaseError.
        """
        connection = self.connection()
        with self._write_lock:
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # After some faults (full disk, I/O error) SQLite has rolled back already.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as fault:
                self._forget()
                raise DatabaseError(str(fault)) from fault

    def write(self, work: Work[T], station_id: str | None = None) -> T:  # noqa: ARG002
        """Do `work` in a transaction that others may share. Errors: what `work` raises, and DatabaseError."""
        return self._group.run(work)

    def _forget(self) -> None:
        """Drop this thread's connection after a fault, so that the next request starts from a clean one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close this thread's connection and the engine's pool (tests and commands)."""
        self._forget()
        if "engine" in self.__dict__:
            self.engine.dispose()


def _prepare_for_engine(connection: Any, record: object) -> None:
    """Take transactions out of the driver's hands: it would commit every DDL statement by itself."""
    connection.isolation_level = None
    _prepare(connection, record)


def _begin(connection: Connection) -> None:
    # A migration takes the write lock at once: two upgrades then follow each other instead of failing.
    exclusive = connection.get_execution_options().get("exclusive", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if exclusive else "BEGIN")


def _prepare(connection: Any, _record: object) -> None:
    """Set what every SQLite connection of ours needs."""
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()
