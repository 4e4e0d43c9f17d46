"""A database under a lease: every transaction first makes sure that the lease is still its holder's (store.leases).

What is done through it is done by the holder or not at all, without a thought in the modules that do it. The check
is part of the transaction: one that began under the lease ends before anybody can take the lease over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from aquasmart_cloud.core.errors import WorkStopped

from . import leases
from .connection import Connection, T, Work
from .database import Database
from .leases import Lease


class FencedDatabase:
    """Stands before a `Database`. `stopping` says that no transaction and no read is to be begun any more."""

    def __init__(self, inner: Database, lease: Lease, stopping: Callable[[], bool] = lambda: False) -> None:
        self._inner = inner
        self._lease = lease
        self._stopping = stopping

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def reading(self) -> AbstractContextManager[Connection]:
        """As the database's; what is read may be out of date, what is then written is not. Errors: WorkStopped too."""
        self._go_on()
        return self._inner.reading()

    @contextmanager
    def writing(self, station_id: str | None = None) -> Iterator[Connection]:
        """As the database's. Errors: LeaseLost and WorkStopped too, nothing stored."""
        self._go_on()
        with self._inner.writing(station_id) as connection:
            leases.hold(connection, self._inner.clock, self._lease)
            yield connection

    def write(self, work: Work[T], station_id: str | None = None) -> T:
        """As the database's. Errors: LeaseLost and WorkStopped too, nothing stored."""
        self._go_on()

        def fenced(connection: Connection) -> T:
            leases.hold(connection, self._inner.clock, self._lease)
            return work(connection)

        return self._inner.write(fenced, station_id)

    def _go_on(self) -> None:
        if self._stopping():
            raise WorkStopped("the worker was asked to stop")
