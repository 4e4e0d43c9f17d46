"""Group commit: writers that come while a commit is on its way to the disk share the next one.

Only the queue, its leader and the transaction's frame live here; what is written is the callers'. A commit costs
one flush of the disk however much it holds, and flushes follow each other: alone, four writers wait for up to
four of them, together for two. Each writer's work stands in its own savepoint, so that one that is refused or
fails takes nothing of the others with it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic

from aquasmart_cloud.core.errors import DatabaseError

from .connection import T, Work

_LARGEST_GROUP = 32


class _Ticket(Generic[T]):
    """One writer's work and what became of it. `wake` is held until it is settled, or its turn to lead."""

    __slots__ = ("error", "result", "settled", "wake", "work")

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.wake = threading.Lock()
        self.wake.acquire()
        self.settled = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


class GroupCommit:
    """Runs works in transactions, several in one where several are waiting.

    `transaction` opens one on the calling thread's connection, commits it at the end of its block, and rolls
    back on any exception (store.database).
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._transaction = transaction
        self._mutex = threading.Lock()
        self._queue: list[_Ticket[Any]] = []
        self._led = False

    def run(self, work: Work[T]) -> T:
        """Do `work` in a transaction; returns when it is durable. Raises what `work` raised, nothing stored.

        Errors: DatabaseError, nothing stored. `work` may run on another thread, and must write nothing but
        through the connection it is given.
        """
        ticket = _Ticket(work)
        with self._mutex:
            self._queue.append(ticket)
            leads = not self._led
            self._led = True
        if not leads:
            ticket.wake.acquire()
        if not ticket.settled:
            self._lead(ticket)
        return ticket.outcome()

    def _lead(self, own: _Ticket[Any]) -> None:
        """Commit everything that waits, then hand over to the first of those that came meanwhile."""
        with self._mutex:
            group, self._queue = self._queue[:_LARGEST_GROUP], self._queue[_LARGEST_GROUP:]
        try:
            self._commit(group)
        finally:
            for ticket in group:
                ticket.settled = True
            with self._mutex:
                following = self._queue[0] if self._queue else None
                self._led = following is not None
            # The next leader first: the disk should not wait for answers to be written.
            if following is not None:
                following.wake.release()
            for ticket in group:
                if ticket is not own:
                    ticket.wake.release()

    def _commit(self, group: list[_Ticket[Any]]) -> None:
        """One transaction for all. Nobody is told of success before COMMIT has returned: a crash before that loses
        the whole group's rows and none of their answers has gone out, so every sender repeats.
        """
        try:
            with self._transaction() as connection:
                if len(group) == 1:
                    # Alone, its savepoint is the transaction itself.
                    group[0].result = group[0].work(connection)
                    return
                for ticket in group:
                    _attempt(connection, ticket)
        except BaseException as error:  # noqa: BLE001  (carried to each writer's own thread)
            for ticket in group:
                ticket.error = ticket.error or error


def _attempt(connection: sqlite3.Connection, ticket: _Ticket[Any]) -> None:
    """One work in its savepoint. Errors: sqlite3.Error where the whole transaction is gone."""
    connection.execute("SAVEPOINT work")
    try:
        ticket.result = ticket.work(connection)
    except BaseException as error:
        # Some faults (full disk, I/O error) end the transaction itself: then the group fails as one.
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO work")
        ticket.error = DatabaseError(str(error)) if isinstance(error, sqlite3.Error) else error
    connection.execute("RELEASE work")
