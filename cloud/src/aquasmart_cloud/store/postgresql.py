"""PostgreSQL behind `store.database`: a connection per thread, locks by station, few round trips.

This module opens connections and frames transactions; it knows one table, `station`, whose row is the station's lock.

Why nothing is counted twice, however many processes write (READ COMMITTED, docs/decisions/0028):

- `write` with a station first locks that station's row, in a statement of its own. The lock is held until COMMIT, and
  under READ COMMITTED every later statement sees what was committed before *it* began, so the mark that the ingest
  transaction reads is the one the transaction before it left. (A single `SELECT … JOIN … FOR UPDATE` would wait too,
  but go on with the mark of before the wait: only the locked row is read again.)
- `writing` without a station takes a lock that all others hold shared. It runs alone, as on SQLite, so modules that
  read first and write then need no thought about concurrency.
- A sender of foreign events that is no station has no row in `station`: its lock is its row of `intake`, which
  store.intake takes as its own first statement, by the same rule.
- No deadlock: everyone takes the shared or exclusive lock first, then at most one station's row, then at most that
  sender's row of `intake`, and touches nothing that belongs to another one afterwards.
- A fault before COMMIT was answered is reported as a fault although PostgreSQL may have committed: the sender repeats,
  and finds its rows at or below the mark. Success is reported only for a COMMIT that says COMMIT: one that ends a
  failed transaction says ROLLBACK, and is no error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import cached_property
from typing import Any

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader, NumericLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from aquasmart_cloud.core.errors import DatabaseError

from .connection import T, Work
from .pipelining import Pipelined

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 5_000
"""How long a write waits for another, as on SQLite: longer than any transaction of ours lasts."""
IDLE_IN_TRANSACTION_MS = 30_000
"""A process that hangs in a transaction must not hold its station's lock for ever."""

ALL_WRITERS = 0x41515541  # "AQUA"
SCHEMA = 0x41515542
"""Advisory locks: who writes everything, who changes the schema."""

_ALONE = f"SELECT pg_advisory_xact_lock({ALL_WRITERS})"
_SHARED = f"SELECT pg_advisory_xact_lock_shared({ALL_WRITERS})"
_LOCK_STATION = "SELECT 1 FROM station WHERE station_id = ? FOR NO KEY UPDATE"
_DURABLE = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"


class Postgresql:
    """The backend of `postgresql://…`; what the methods promise stands in `store.database`.

    One query parameter of the URL is ours: `prepare=never` for a pooler that gives each transaction another server
    connection (PgBouncer in transaction mode). Such a pooler takes no settings from us either: set lock_timeout and
    idle_in_transaction_session_timeout on the role.
    """

    clock = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"

    def __init__(self, url: str) -> None:
        asked = make_url(url)
        self.name = asked.set(drivername="postgresql").render_as_string(hide_password=True)
        self._prepare = asked.query.get("prepare") != "never"
        self._url = asked.difference_update_query(["prepare"]).set(drivername="postgresql+psycopg")
        self._local = threading.local()

    @property
    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "aquasmart-cloud",
            # A server whose machine is gone says nothing: ask it, and give up within a minute.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 50_000,
        }
        if self._prepare:
            settings = {"lock_timeout": LOCK_TIMEOUT_MS, "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS}
            found["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return found

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""
        arguments = self._options if self._prepare else self._options | {"prepare_threshold": None}
        engine = create_engine(self._url, pool_pre_ping=True, connect_args=arguments)
        # Before SQLAlchemy's own first questions, which such a server answers in bytes.
        event.listen(engine, "connect", _utf8_only, insert=True)
        event.listen(engine, "connect", _whole_numbers)
        event.listen(engine, "begin", _begin)
        return engine

    def require(self) -> None:
        """Nothing to say before it is opened: a server that cannot be reached says so itself."""

    def connection(self) -> Pipelined:
        """This thread's connection, a new one where the server has closed the former. Errors: DatabaseError."""
        found: Pipelined | None = getattr(self._local, "connection", None)
        if found is not None and found.gone():
            self._forget()
            found = None
        if found is None:
            found = self._open()
            self._local.connection = found
        return found

    def _open(self) -> Pipelined:
        address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            raw = psycopg.connect(address, autocommit=True, **self._options)
            _utf8_only(raw, None)
            durable = raw.execute(_DURABLE).fetchone()
        except psycopg.Error as fault:
            raise DatabaseError(
                f"cannot open {self.name}: {fault}", "is the server running, and the URL right?"
            ) from fault
        if durable is None or "off" in durable:
            raw.close()
            raise DatabaseError(
                f"{self.name} has fsync or synchronous_commit off: it would acknowledge what a power cut takes away",
                "set both to on, in postgresql.conf or for the role",
            )
        raw.adapters.register_loader("uuid", _HexUuid)
        _whole_numbers(raw, None)
        return Pipelined(raw, prepare=self._prepare)

    @contextmanager
    def reading(self) -> Iterator[Pipelined]:
        """Autocommit. Errors: DatabaseError."""
        connection = self.connection()
        try:
            yield connection
        except psycopg.Error as fault:
            self._forget()
            raise _database_error(fault) from fault

    @contextmanager
    def snapshot(self) -> Iterator[Pipelined]:
        """One transaction that sees what was committed before its first statement. Errors: DatabaseError."""
        with self.reading() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield connection
            finally:
                if not connection.uncertain and not connection.raw.closed:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[Pipelined]:
        """One transaction, alone, or alone for its station. Errors: DatabaseError."""
        with self._transaction(station_id, gathering=False) as connection:
            yield connection

    def write(self, work: Work[T], station_id: str | None = None) -> T:
        """Do `work` in one transaction; its statements travel together up to each read, and with the COMMIT.

        Errors: what `work` raises, and DatabaseError.
        """
        with self._transaction(station_id, gathering=True) as connection:
            return work(connection)

    @contextmanager
    def _transaction(self, station_id: str | None, *, gathering: bool) -> Iterator[Pipelined]:
        connection = self.connection()
        try:
            connection.gathering = True
            connection.execute("BEGIN")
            _lock(connection, station_id)
            if not gathering:
                connection.exchange()
            connection.gathering = gathering
            try:
                yield connection
            except psycopg.Error:
                raise
            except BaseException:
                connection.gathering = False
                if connection.uncertain:
                    self._forget()
                else:
                    connection.execute("ROLLBACK")
                raise
            connection.gathering = False
            status = connection.execute("COMMIT").status
            if status != "COMMIT":
                raise psycopg.OperationalError(f"the transaction was not committed: {status}")
        except psycopg.Error as fault:
            self._forget()
            raise _database_error(fault) from fault

    def _forget(self) -> None:
        """Drop this thread's connection after a fault, and with it whatever transaction it was in."""
        connection: Pipelined | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Close this thread's connection and the engine's pool."""
        self._forget()
        if "engine" in self.__dict__:
            self.engine.dispose()


def _lock(connection: Pipelined, station_id: str | None) -> None:
    """The order of locks that everyone keeps (see above)."""
    if station_id is None:
        connection.execute(_ALONE)
        return
    connection.execute(_SHARED)
    connection.execute(_LOCK_STATION, (station_id,))


def _database_error(fault: psycopg.Error) -> DatabaseError:
    """The fault without the values that PostgreSQL repeats in its details: they may be a station's data."""
    return DatabaseError(fault.diag.message_primary or str(fault))


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("exclusive", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA})")


class _HexUuid(Loader):
    """A UUID as the 32 hex digits that the core knows."""

    format = Format.BINARY

    def load(self, data: Any) -> str:
        return bytes(data).hex()


class _WholeText(NumericLoader):
    """A sum of integers is a numeric here: an integer again where it is whole."""

    def load(self, data: Any) -> Any:
        return _whole(super().load(data))


class _WholeBinary(NumericBinaryLoader):
    def load(self, data: Any) -> Any:
        return _whole(super().load(data))


def _whole(value: Decimal) -> Decimal | int:
    return int(value) if value.is_finite() and value == value.to_integral_value() else value


def _whole_numbers(connection: Any, _record: object) -> None:
    context: AdaptContext = connection
    context.adapters.register_loader("numeric", _WholeText)
    context.adapters.register_loader("numeric", _WholeBinary)


def _utf8_only(connection: Any, _record: object) -> None:
    """A cluster that was made where no locale was set is in SQL_ASCII: it takes anything and answers in bytes."""
    raw: psycopg.Connection = connection
    encoding = raw.info.parameter_status("server_encoding")
    if encoding not in {None, "UTF8"}:
        name = raw.info.dbname
        raw.close()
        raise DatabaseError(
            f"the database {name} is encoded in {encoding}: names would not come back as they were written",
            "make it with: createdb --encoding UTF8 --template template0",
        )
