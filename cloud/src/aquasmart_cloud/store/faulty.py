"""A database that fails when told to: for demonstrations and tests, never in production (config refuses it).

The real database stands behind it, and everything passes through: the rollback, the retry, the second look are the
product's own. What is injected is only the moment of failure.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.fault_names import DB_AFTER, DB_BEFORE, DB_WITHIN

from .connection import Connection, T, Work
from .database import Database


class FaultyDatabase:
    """Stands before a `Database`; the next transaction of a thread that was armed fails once."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def arm(self, fault: str | None) -> None:
        """Let this thread's next transaction fail so; None: let it pass."""
        self._local.fault = fault

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[Connection]:
        """The inner transaction, with the fault asked for."""
        fault = self._taken()
        _fail_if(fault, DB_BEFORE)
        with self._inner.writing(station_id) as connection:
            yield connection
            _fail_if(fault, DB_WITHIN)
        _fail_if(fault, DB_AFTER)

    def write(self, work: Work[T], station_id: str | None = None) -> T:
        """The inner shared transaction. Only this work fails: others of its group are not this request's affair."""
        fault = self._taken()
        _fail_if(fault, DB_BEFORE)

        def failing(connection: Connection) -> T:
            result = work(connection)
            _fail_if(fault, DB_WITHIN)
            return result

        result = self._inner.write(failing, station_id)
        _fail_if(fault, DB_AFTER)
        return result

    def _taken(self) -> str | None:
        fault: str | None = getattr(self._local, "fault", None)
        self._local.fault = None
        return fault


def _fail_if(fault: str | None, moment: str) -> None:
    if fault == moment:
        raise DatabaseError(f"a fault was asked for: {moment}")
