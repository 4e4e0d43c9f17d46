"""The cloud's database, by its URL: SQLite's file or a PostgreSQL server behind the same few methods.

This module chooses the backend and says what each method promises; it knows no table. Statements reach both in one
form (store.connection).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from .connection import Backend, Connection, T, Work
from .postgresql import Postgresql
from .recent import Recent
from .sqlite import Sqlite

BACKENDS: dict[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}


class Database:
    """One database, shared by all threads of a process. The constructor only stores its address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kind = make_url(url).get_backend_name()
        self._backend: Backend = BACKENDS[self.kind](url)
        self.recent = _recent(url)
        """Look-ups that may be a second old; one for all who have this database open in this process."""

    @property
    def name(self) -> str:
        """The file, or the server's address without its password: for messages."""
        return self._backend.name

    @property
    def clock(self) -> str:
        """SQL for the time by the database's own clock, Unix ms: leases expire by it, whatever hosts believe."""
        return self._backend.clock

    @property
    def path(self) -> str:
        """The SQLite file's path; of another database, its name."""
        return self.name

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for reads by people's pages and for commands."""
        return self._backend.engine

    def require(self) -> None:
        """Say so where there is nothing that could be opened. Errors: DatabaseError naming 'db upgrade'."""
        self._backend.require()

    def connection(self) -> Connection:
        """This thread's raw connection, autocommit, opened at first use.

        Errors: DatabaseError where it cannot be opened. A missing SQLite file is a fault, never created here:
        only `db upgrade` makes databases.
        """
        return self._backend.connection()

    def reading(self) -> AbstractContextManager[Connection]:
        """This thread's connection for single-statement reads. Errors: DatabaseError."""
        return self._backend.reading()

    def snapshot(self) -> AbstractContextManager[Connection]:
        """This thread's connection for reads that all see the database of one moment; nobody waits for them.

        Errors: DatabaseError.
        """
        return self._backend.snapshot()

    def writing(self, station_id: str | None = None) -> AbstractContextManager[Connection]:
        """One transaction: all of the block is stored durably on return, or nothing of it on any exception.

        A crash before COMMIT returns leaves the transaction as if it never was; a crash after it, before the
        answer, leaves everything, and the sender's retry finds it done. Blocks follow each other, so what one has
        read is still so when it writes: on SQLite always; on PostgreSQL blocks of different stations run beside
        each other where `station_id` says that everything the block reads or writes belongs to that station, or to that
        sender of foreign events (store.intake, which then locks the sender's own row first).
        Errors: DatabaseError for every fault of the database itself.
        """
        return self._backend.writing(station_id)

    def write(self, work: Work[T], station_id: str | None = None) -> T:
        """Do `work` in such a transaction, which on SQLite others may share (store.committing). For the hot paths.

        On PostgreSQL what it does with a `station_id` travels in as few round trips as its reads allow. `work` may
        run on another thread, and must write nothing but through the connection it is given.
        Errors: what `work` raises, and DatabaseError; either way nothing of it was stored.
        """
        return self._backend.write(work, station_id)

    def close(self) -> None:
        """Close this thread's connection and the engine's pool (tests and commands)."""
        self._backend.close()


@cache
def _recent(url: str) -> Recent:  # noqa: ARG001 - what it is cached by
    return Recent()
