"""PostgreSQL behind `store.database`: a connection per thread, locks by station, few round trips.

This module opens connections and frames transactions; it knows one table, `station`, whose row is the station's lock.

Why nothing is counted twice, however many processes write (READ COMMITTED, docs/decisions/0028):

- `write` with a station first locks that station's row, in a statement of its own. The lock is held until COMMIT, and
  under READ COMMITTED every later statement sees what was committed before *it* began, so the mark that the ingest
  transaction reads is the one the transaction before it left. (A single `SELECT … JOIN … FOR UPDATE` would wait too,
  but go on with the mark of before the wait: only the locked row is read again.)
- `writing` without a station takes a lock that all others hold shared. It runs alone, as on SQLite, so modules that
  read first and write then need no thought about concurrency.
- No deadlock: everyone takes the shared or exclusive lock first, then at most one station's row, and touches nothing
  that belongs to another station afterwards.
- A fault before COMMIT was answered is reported as a fault although PostgreSQL may have committed: the sender repeats,
  and finds its rows at or below the mark. Success is reported only for a COMMIT that says COMMIT: one that ends a
  failed transaction says ROLLBACK, and is no error.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import cached_property
from typing import Any

import psycopg
from psycopg import Pipeline, RawCursor
from psycopg.abc import AdaptContext
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader, NumericLoader
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from aquasmart_cloud.core.errors import DatabaseError

from .connection import T, Work
from .placeholders import translated

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 5_000
"""How long a write waits for another, as on SQLite: longer than any transaction of ours lasts."""
IDLE_IN_TRANSACTION_MS = 30_000
"""A process that hangs in a transaction must not hold its station's lock for ever."""

ALL_WRITERS = 0x41515541  # "AQUA"
SCHEMA = 0x41515542
"""Advisory locks: who writes everything, who changes the schema."""

_BEGIN = b"BEGIN"
_COMMIT = b"COMMIT"
_ALONE = f"SELECT pg_advisory_xact_lock({ALL_WRITERS})".encode()
_SHARED = f"SELECT pg_advisory_xact_lock_shared({ALL_WRITERS})".encode()
_LOCK_STATION = b"SELECT 1 FROM station WHERE station_id = $1 FOR NO KEY UPDATE"
_DURABLE = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"


class _Cursor(RawCursor[Any]):
    """A cursor that knows how many rows it changed although its statement may still be on its way."""

    pipeline: Pipeline | None = None

    @property
    def rowcount(self) -> int:
        if self.pgresult is None and self.pipeline is not None:
            self.pipeline.sync()
        return super().rowcount


class PostgresqlConnection:
    """One thread's connection, which takes statements as the store's modules write them."""

    __slots__ = ("pipeline", "raw")

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        self.pipeline: Pipeline | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> _Cursor:
        """One statement. In a pipeline it is only queued; asking for its rows or its count waits for it."""
        text, order = translated(sql)
        cursor = _Cursor(self.raw)
        cursor.pipeline = self.pipeline
        cursor.execute(text, parameters if order is None else [parameters[index] for index in order], binary=True)
        return cursor

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> _Cursor:
        """One statement for each row of parameters."""
        text, order = translated(sql)
        cursor = _Cursor(self.raw)
        if parameters:
            rows = parameters if order is None else [[row[index] for index in order] for row in parameters]
            cursor.executemany(text, rows)
        return cursor


class Postgresql:
    """The backend of `postgresql://…`; what the methods promise stands in `store.database`.

    One query parameter of the URL is ours: `prepare_threshold`, after how many uses a statement is prepared; `none`
    for a pooler that gives each transaction another server connection (PgBouncer in transaction mode). Such a pooler
    takes no settings from us either: set lock_timeout and idle_in_transaction_session_timeout on the role.
    """

    def __init__(self, url: str) -> None:
        asked = make_url(url)
        self.name = asked.set(drivername="postgresql").render_as_string(hide_password=True)
        self._prepare = _prepare_threshold(asked)
        self._url = asked.difference_update_query(["prepare_threshold"]).set(drivername="postgresql+psycopg")
        self._local = threading.local()

    @property
    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "aquasmart-cloud"}
        if self._prepare is not None:
            settings = {"lock_timeout": LOCK_TIMEOUT_MS, "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS}
            found["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return found

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""
        arguments = self._options | {"prepare_threshold": self._prepare}
        engine = create_engine(self._url, pool_pre_ping=True, connect_args=arguments)
        event.listen(engine, "connect", _whole_numbers)
        event.listen(engine, "begin", _begin)
        return engine

    def require(self) -> None:
        """Nothing to say before it is opened: a server that cannot be reached says so itself."""

    def connection(self) -> PostgresqlConnection:
        """This thread's connection, a new one where the server has closed the former. Errors: DatabaseError."""
        found: PostgresqlConnection | None = getattr(self._local, "connection", None)
        if found is not None and _gone(found.raw):
            self._forget()
            found = None
        if found is None:
            found = self._open()
            self._local.connection = found
        return found

    def _open(self) -> PostgresqlConnection:
        address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            raw = psycopg.connect(address, autocommit=True, prepare_threshold=self._prepare, **self._options)
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
        raw.adapters.register_dumper(int, Int8BinaryDumper)
        raw.adapters.register_loader("uuid", _HexUuid)
        _whole_numbers(raw, None)
        return PostgresqlConnection(raw)

    @contextmanager
    def reading(self) -> Iterator[PostgresqlConnection]:
        """Autocommit. Errors: DatabaseError."""
        connection = self.connection()
        try:
            yield connection
        except psycopg.Error as fault:
            self._forget()
            raise _database_error(fault) from fault

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[PostgresqlConnection]:
        """One transaction, alone, or alone for its station. Errors: DatabaseError."""
        connection = self.connection()
        raw = connection.raw
        try:
            raw.execute(_BEGIN)
            try:
                _lock(raw, station_id)
                yield connection
            except BaseException:
                raw.rollback()
                raise
            _require_committed(raw.execute(_COMMIT).statusmessage)
        except psycopg.Error as fault:
            self._forget()
            raise _database_error(fault) from fault

    def write(self, work: Work[T], station_id: str | None = None) -> T:
        """Do `work` in one transaction; its statements travel together up to each read, and with the COMMIT.

        A statement that fails makes the server skip everything up to the next synchronisation, COMMIT included, and
        raises here at the latest when that is waited for: before success is reported.
        Errors: what `work` raises, and DatabaseError.
        """
        connection = self.connection()
        raw = connection.raw
        try:
            with raw.pipeline() as pipeline:
                connection.pipeline = pipeline
                raw.execute(_BEGIN)
                _lock(raw, station_id)
                result = work(connection)
                commit = raw.execute(_COMMIT)
                pipeline.sync()
                _require_committed(commit.statusmessage)
        except psycopg.Error as fault:
            self._forget()
            raise _database_error(fault) from fault
        except BaseException:
            self._roll_back(raw)
            raise
        finally:
            connection.pipeline = None
        return result

    def _roll_back(self, raw: psycopg.Connection[Any]) -> None:
        """End a transaction that was refused. Where that fails the connection goes, and the transaction with it."""
        try:
            raw.rollback()
        except psycopg.Error:
            self._forget()

    def _forget(self) -> None:
        """Drop this thread's connection after a fault, and with it whatever transaction it was in."""
        connection: PostgresqlConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.raw.close()

    def close(self) -> None:
        """Close this thread's connection and the engine's pool."""
        self._forget()
        if "engine" in self.__dict__:
            self.engine.dispose()


def _prepare_threshold(url: URL) -> int | None:
    said = url.query.get("prepare_threshold", "1")
    return None if said == "none" else int(str(said))


def _lock(raw: psycopg.Connection[Any], station_id: str | None) -> None:
    """The order of locks that everyone keeps (see above)."""
    if station_id is None:
        raw.execute(_ALONE)
        return
    raw.execute(_SHARED)
    _Cursor(raw).execute(_LOCK_STATION, (station_id,))


def _require_committed(status: str | None) -> None:
    if status != "COMMIT":
        raise psycopg.OperationalError(f"the transaction was not committed: {status}")


def _gone(raw: psycopg.Connection[Any]) -> bool:
    """Whether the connection is no more. An idle one has nothing to read, but for the server's word that it closes."""
    return raw.closed or bool(select.select([raw.fileno()], [], [], 0)[0])


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
