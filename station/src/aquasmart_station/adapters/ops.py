"""ops.db: one process's connection to the operations, settings, notices and key rotations of this station.

Durable (WAL, `synchronous=FULL`), small, and apart from the log: an operation is queued while the reader commits ten
times a second, and neither waits for the other. Only opening, transactions and the fence live here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.errors import Fenced, OpsError
from ..core.phrases import Phrase
from .durable_files import make_shared
from .log_file import damaged_text, quoting_no_text, run_script, schema_numbers

SCHEMA_VERSION = 2
NEXT_MAJOR = 1_000
APPLICATION_ID = 0x41514F50  # "AQOP"
BUSY_TIMEOUT_S = 5.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class OpsDamaged(OpsError):
    """The file is malformed. What it held is set aside, the cloud's settings come again by themselves."""


class OpsFile:
    """A connection, opened at first use. The constructor stores its path only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._writes = 0
        self._file: tuple[int, int] | None = None
        self._fence: int | None = None

    def moment(self) -> tuple[int, int]:
        """Differs from the last one exactly where somebody, this connection included, has written. Raises OpsError."""
        # A file that was set aside and made anew is another one: its name alone says nothing.
        if self._connection is not None and _identity(self.path) != self._file:
            self.close()
        with self.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0]), self._writes

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For reads. Raises OpsError."""
        try:
            yield self._open()
        except sqlite3.Error as fault:
            raise self._trouble(fault) from fault

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block is on the disk when it ends, or nothing of it. Raises OpsError, and Fenced
        where this connection has taken over and another has since: a process that slept may not write when it wakes.
        """
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self._fence is not None:
                    self._check_fence(connection)
                yield connection
                connection.execute("COMMIT")
                self._writes += 1
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as fault:
            raise self._trouble(fault) from fault

    def take_over(self, now_ms: int) -> None:
        """Become the one that may write what is sync's. The caller holds sync.lock. Raises OpsError."""
        self._fence = None
        with self.writing() as connection:
            number = connection.execute("SELECT number FROM fence").fetchone()[0] + 1
            connection.execute("UPDATE fence SET number = ?, at_ms = ?", (number, now_ms))
        self._fence = number

    def check(self) -> None:
        """Whether the file is sound. Raises OpsDamaged where it is not, OpsError where that cannot be said."""
        with self.reading() as connection:
            # Not quick_check, which reads no index: with one of those damaged nothing can be written.
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if said != ["ok"]:
                raise OpsDamaged(f"{self.path}: {'; '.join(said)}")

    def close(self) -> None:
        """Close; the next use opens again."""
        connection, self._connection = self._connection, None
        self._writes += 1  # a new connection counts its versions anew
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _check_fence(self, connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT number FROM fence").fetchone()[0] != self._fence:
            raise Fenced(Phrase("another sync has taken over"), hint=Phrase("Nothing to do: that one goes on."))

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_shared(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.text_factory = damaged_text
                with quoting_no_text():
                    _set_up(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._file = connection, _identity(self.path)
        return self._connection

    def _trouble(self, fault: sqlite3.Error) -> OpsError:
        self.close()
        code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
        kind = OpsDamaged if code in _DAMAGED else OpsError
        hint = Phrase("Is there room on the disk?")
        if kind is OpsDamaged:
            hint = Phrase("Sync sets the file aside and begins a new one.")
        return kind(f"{self.path}: {fault}", hint=hint)


def _set_up(connection: sqlite3.Connection) -> None:
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 1048576")
    version = _version(connection)
    if version != SCHEMA_VERSION:
        version, by_tables = schema_numbers(connection, "ops", SCHEMA_VERSION)
        if version != by_tables:
            # A flipped bit in the number alone: what waits in the tables stays.
            connection.execute(f"PRAGMA user_version = {by_tables}")
            version = by_tables
    if version >= NEXT_MAJOR:
        raise OpsError(
            Phrase("the schema {version} of ops.db is of another major", version=version),
            hint=Phrase("Start the newer software again."),
        )
    if version >= SCHEMA_VERSION:
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # Read again inside: another process may have made it between the look and the lock.
        for each in range(_version(connection) + 1, SCHEMA_VERSION + 1):
            run_script(connection, f"ops_{each:04}.sql")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _patiently(change: Callable[[], object]) -> None:
    """The change to WAL ignores the busy time-out: two processes may make the file at the same moment."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            change()
        except sqlite3.OperationalError as fault:
            if getattr(fault, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
