"""Statements to PostgreSQL, many in one round trip: libpq's pipeline, by psycopg's thin layer over it.

Only the queue, the wire's forms and the waiting live here; transactions and locks are in `store.postgresql`. psycopg's
own cursors send each statement by itself and cost more than the transaction (measured: 440 µs of 630 a batch); here a
statement is queued in a few microseconds, and the queue leaves with the first answer that somebody looks at.

Correct because the server keeps the order: a statement that fails makes it skip everything up to the next Sync, so no
later one of the same exchange, COMMIT included, can take effect; and the failure is raised by that exchange.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

from .placeholders import translated

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.PIPELINE_ABORTED})


class Answer:
    """A statement's rows or count; asking for them is what waits."""

    __slots__ = ("_connection", "_place", "_rows", "result")

    def __init__(self, connection: Pipelined) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] | None = None
        self._place = 0
        self.result: PGresult | None = None

    def _arrived(self) -> PGresult:
        if self.result is None:
            self._connection.exchange()
        assert self.result is not None
        return self.result

    def _loaded(self) -> list[tuple[Any, ...]]:
        if self._rows is None:
            self._rows = self._connection.load(self._arrived())
        return self._rows

    @property
    def rowcount(self) -> int:
        """Rows changed, or found."""
        return self._arrived().command_tuples or 0

    @property
    def status(self) -> str:
        """The server's word for what was done: `COMMIT`, `UPDATE 1`."""
        return (self._arrived().command_status or b"").decode()

    @property
    def description(self) -> list[tuple[str]]:
        result = self._arrived()
        return [((result.fname(column) or b"").decode(),) for column in range(result.nfields)]

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        rows = self._loaded()
        if self._place >= len(rows):
            return None
        self._place += 1
        return rows[self._place - 1]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        rows, self._place = self._loaded()[self._place :], len(self._loaded())
        return rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())


class Pipelined:
    """One connection, always in pipeline mode. `prepare`: whether statements keep a name on the server."""

    def __init__(self, raw: psycopg.Connection[Any], *, prepare: bool) -> None:
        self.raw = raw
        self.gathering = False
        """Whether statements wait for one that is looked at; else each is exchanged at once."""
        self.uncertain = False
        """Whether an exchange was broken off: nobody knows then which answer would come next."""
        self._prepare = prepare
        self._names: dict[bytes, bytes] = {}
        self._waiting: list[Answer | None] = []
        self._transformer = Transformer(raw)
        self._pgconn = raw.pgconn
        self._poll = select.poll()
        self._poll.register(raw.fileno(), select.POLLIN)
        self._pgconn.enter_pipeline_mode()

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Answer:
        """One statement. Errors: psycopg.Error, here or where its answer is waited for."""
        text, order = translated(sql)
        answer = self._send(text, parameters if order is None else [parameters[index] for index in order])
        if not self.gathering:
            self.exchange()
        return answer

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> Answer:
        """One statement for each row of parameters, in one exchange; the answer is the last one's."""
        text, order = translated(sql)
        answer = Answer(self)
        for row in parameters:
            answer = self._send(text, row if order is None else [row[index] for index in order])
        if not self.gathering:
            self.exchange()
        return answer

    def _send(self, sql: bytes, parameters: Sequence[Any]) -> Answer:
        """Everything travels as text, whose type the server knows from where it stands; bytes as they are."""
        values = [_DUMPED[type(value)](value) for value in parameters]
        forms = [Format.BINARY if type(value) is bytes else Format.TEXT for value in parameters]
        if self._prepare:
            name = self._names.get(sql)
            if name is None:
                name = self._names[sql] = f"s{len(self._names)}".encode()
                self._pgconn.send_prepare(name, sql)
                self._waiting.append(None)
            self._pgconn.send_query_prepared(name, values, forms, Format.BINARY)
        else:
            self._pgconn.send_query_params(sql, values, None, forms, Format.BINARY)
        answer = Answer(self)
        self._waiting.append(answer)
        return answer

    def exchange(self) -> None:
        """Send what is queued and wait for all of its answers.

        Errors: psycopg.Error, the first one's. Whoever gets it drops the connection: what has a name is uncertain.
        """
        pgconn, waiting = self._pgconn, iter(self._waiting)
        self._waiting = []
        self.uncertain = True
        pgconn.pipeline_sync()
        self._flush()
        failed: PGresult | None = None
        while True:
            while pgconn.is_busy():
                self._poll.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                if pgconn.status != ConnStatus.OK:
                    raise error_from_result(failed) if failed else psycopg.OperationalError("the connection is lost")
                continue
            status = result.status
            if status == ExecStatus.PIPELINE_SYNC:
                break
            if status in _FAILED:
                failed = failed or result
            if (answer := next(waiting)) is not None:
                answer.result = result
        self.uncertain = False
        if failed is not None:
            raise error_from_result(failed)

    def _flush(self) -> None:
        """Empty the buffer, reading meanwhile: two sides that only write would wait for each other."""
        while self._pgconn.flush():
            self._poll.modify(self.raw.fileno(), select.POLLIN | select.POLLOUT)
            if any(events & select.POLLIN for _, events in self._poll.poll()):
                self._pgconn.consume_input()
            self._poll.modify(self.raw.fileno(), select.POLLIN)

    def load(self, result: PGresult) -> list[tuple[Any, ...]]:
        """A result's rows as Python's values."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def gone(self) -> bool:
        """Whether the server has closed it: an idle connection has nothing to read but that."""
        return self.raw.closed or self.uncertain or bool(self._poll.poll(0))

    def close(self) -> None:
        """Close it; the server rolls back what was not committed."""
        self.raw.close()

    def __del__(self) -> None:
        # A thread that ends takes its connection with it.
        with suppress(Exception):
            self.raw.close()


class _Dumped(dict[type, Callable[[Any], bytes | None]]):
    """How a value of each type travels; types of few values each, so that one look-up tells."""

    def __missing__(self, kind: type) -> Callable[[Any], bytes | None]:
        return lambda value: str(value).encode()


_DUMPED = _Dumped(
    {
        type(None): lambda _: None,
        bytes: bytes,
        bool: lambda value: b"t" if value else b"f",
        int: b"%d".__mod__,
        str: str.encode,
    }
)
