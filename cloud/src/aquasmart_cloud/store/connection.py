"""What a store module may ask of a connection, whichever database is behind it.

Types only. A statement is written once: `?` or `?1` for parameters, UUIDs as 32 hex digits, no function that only
one database has. What SQL cannot say alike is said in a backend (`store.sqlite`, `store.postgresql`), never in a
module that knows tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine

T = TypeVar("T")


class Cursor(Protocol):
    """The rows of a statement, or how many it changed."""

    @property
    def rowcount(self) -> int: ...

    @property
    def description(self) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection: in a transaction within `Database.writing` and `Database.write`, autocommit within `reading`."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor: ...

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> Cursor: ...


Work = Callable[[Connection], T]


class Backend(Protocol):
    """What each kind of database does for `store.database.Database`, which says what every part promises."""

    name: str
    """The database for people, without its password."""
    clock: str
    """SQL for the time by the database's own clock, Unix ms: the one thing of time that two machines agree about."""

    @property
    def engine(self) -> Engine: ...

    def require(self) -> None: ...

    def connection(self) -> Connection: ...

    def reading(self) -> AbstractContextManager[Connection]: ...

    def snapshot(self) -> AbstractContextManager[Connection]: ...

    def writing(self, station_id: str | None) -> AbstractContextManager[Connection]: ...

    def write(self, work: Work[T], station_id: str | None) -> T: ...

    def close(self) -> None: ...
