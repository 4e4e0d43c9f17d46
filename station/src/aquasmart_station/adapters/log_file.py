"""Opening log.db: pragmas, schema, migrations, and the form of a stream's header.

Everything that reads or writes the log opens it here, so that page size, WAL and `synchronous=FULL` are decided once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

from ..core.encoding import compact, header_document, header_from_document
from ..core.errors import LogBusy, LogDamaged, LogError, LogFull
from ..core.model import Row, StreamHeader
from ..core.phrases import Phrase, joined
from .durable_files import hand_to_folders_owner, sync_file, sync_folder
from .log_rows import sound_row

SCHEMA_VERSION = 3
NEXT_MAJOR = 1_000
"""A schema numbered so high is of another major: not ours to open. Below it, later versions only add."""
APPLICATION_ID = 0x41514C47  # "AQLG"
PAGE_BYTES = 1024
BUSY_TIMEOUT_S = 5.0
JOURNAL_LIMIT_BYTES = 4 << 20
CACHE_KIB = 512
"""Of pages a connection. Everybody goes through the log in order or works at its end; SQLite's own 2 MiB would be
filled by the first look and stay."""
FULL_BELOW_BYTES = 64 << 10
"""With less free than this, whatever failed failed for want of space: the index of the WAL alone takes 32 KiB."""
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY})

_BACKWARDS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32 FROM event
WHERE stream = ? AND position > ? AND position <= ? ORDER BY position DESC
"""
_WINDOW = 20_000
# TOOBIG: a record that claims a gigabyte; no row of ours comes near it.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def log_fault(fault: sqlite3.Error, text: str, *, hint: str = "") -> LogError:
    """What a fault of SQLite means: LogDamaged for CORRUPT and NOTADB only, LogBusy, LogError for all else.

    FULL, IOERR, CANTOPEN, READONLY and the like say nothing about what the file holds: they must never lead to a
    quarantine.
    """
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return LogDamaged(text, hint=Phrase("Stop the services and run `aquasmart check`."))
    return LogBusy(text, hint=hint) if code in _BUSY else LogError(text, hint=hint)


def header_text(header: StreamHeader) -> str:
    """A stream's header as the log keeps it: the wire's document and a CRC-32 over it."""
    document = header_document(header)
    return compact(document | {"crc32": zlib.crc32(compact(document).encode())})


def read_header(text: str) -> StreamHeader:
    """The inverse. Raises LogDamaged: a header is what prices every row of its stream.

    A log of the first version has headers without a checksum; they are taken if they are whole.
    """
    try:
        document = json.loads(text)
        crc32 = document.pop("crc32", None)
        header = header_from_document(document)
        if header_document(header) == document and crc32 in {None, zlib.crc32(compact(document).encode())}:
            return header
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise LogDamaged(
        Phrase("the header of a stream in the log is damaged"),
        hint=Phrase("Stop the services and run `aquasmart check`."),
    )


def open_log(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A writing connection: WAL, synchronous=FULL, 1 KiB pages, autocommit.

    With `create`, the file is made whole under another name first, so that an empty log.db is always damage and never a
    start that was cut; a schema is migrated under `BEGIN EXCLUSIVE`. Raises LogError with a hint.
    """
    try:
        if not create and not path.exists():
            raise LogError(
                Phrase("there is no log at {path}", path=path),
                hint=Phrase("The reader creates it; is aquasmart-reader running?"),
            )
        if create and not path.exists():
            _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.text_factory = damaged_text
        try:
            with quoting_no_text():
                _set_up(connection, create=create)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as fault:
        raise trouble(
            path, fault, Phrase("the log {path} cannot be opened", path=path), hint=Phrase("Run `aquasmart status`.")
        ) from fault
    return connection


def trouble(path: Path, fault: sqlite3.Error, what: str, *, hint: str = "") -> LogError:
    """What a fault of SQLite means. A full disk has many faces (FULL, an I/O error, "cannot open"), so the partition is
    asked, too: it must never be taken for a broken file."""
    code = getattr(fault, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or (code not in _BROKEN and free_bytes(path.parent) < FULL_BELOW_BYTES):
        return LogFull(
            Phrase("{what}: the disk is full", what=what),
            hint=Phrase("Free space on the data partition; counting goes on."),
        )
    return log_fault(fault, joined(": ", (what, str(fault))), hint=hint)


def rolled_back(connection: sqlite3.Connection) -> bool:
    """End the transaction of a write that failed. False where even that fails: the connection is then to be closed,
    for a transaction that stays open would refuse every later one.
    """
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def free_bytes(folder: Path) -> int:
    """What the partition of `folder` still takes from us. 0 where it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def open_log_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises LogError where there is no log."""
    if not path.exists():
        raise LogError(
            Phrase("there is no log at {path}", path=path), hint=Phrase("It is created when the reader first starts.")
        )
    # Where everybody has closed the log there is no -shm to map, and a read-only connection may not make one. A -wal
    # alone (a copied card) holds committed rows, which `immutable` would not see.
    shared = any(path.with_name(path.name + end).exists() for end in ("-shm", "-wal"))
    try:
        try:
            return _read_only(path, "mode=ro" if shared else "immutable=1")
        except sqlite3.OperationalError:
            # A full disk has no room for the -shm either. With an empty WAL the file alone says everything.
            wal = path.with_name(path.name + "-wal")
            if not shared or (wal.exists() and wal.stat().st_size):
                raise
            return _read_only(path, "immutable=1")
    except sqlite3.Error as fault:
        raise trouble(path, fault, Phrase("the log {path} cannot be read", path=path)) from fault


def _read_only(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.text_factory = damaged_text
        connection.execute("PRAGMA query_only = ON")
        with quoting_no_text():
            connection.execute("SELECT number FROM fence").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def damaged_text(raw: bytes) -> str:
    """Text; where it is no UTF-8, something whose checksum cannot hold, instead of a fault of the whole query."""
    return raw.decode("utf-8", "replace")


@contextlib.contextmanager
def quoting_no_text() -> Iterator[None]:
    """For what reads the schema first. SQLite quotes a damaged one in its fault, and where the quotation is no UTF-8,
    Python cannot make the fault of it: it is made here, as the sqlite3.DatabaseError (CORRUPT) that it is."""
    try:
        yield
    except UnicodeDecodeError as fault:
        damage = sqlite3.DatabaseError("malformed database schema, whose words are no text")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage from fault


def lock(path: Path, *, exclusive: bool, wait: bool = False) -> int:
    """Take an flock on `path` and return its descriptor; the kernel frees it when the process dies, however it dies.

    Raises BlockingIOError where another holds it and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        hand_to_folders_owner(path)
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def last_sound_row(
    connection: sqlite3.Connection, number: int, header: StreamHeader, first_position: int
) -> Row | None:
    """The last row of a stream whose checksum holds, looked for from the end of the log backwards."""
    last = connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()[0]
    for high in range(last, first_position - 1, -_WINDOW):  # in pieces: a stream may have been silent for long
        low = max(first_position - 1, high - _WINDOW)
        for values in connection.execute(_BACKWARDS, (number, low, high)):
            row = sound_row(header.id.bytes, values)
            if row is not None:
                return row
    return None


def _make(path: Path) -> None:
    """A new log, in place only when it is whole and durable. Raises LogError, sqlite3.Error."""
    if path.with_name(path.name + "-wal").exists():
        # SQLite would play it into the new file: rows of another log, or nothing but damage.
        raise LogDamaged(
            Phrase("{path} is missing, but its -wal is there", path=path), hint=Phrase("Run `aquasmart check`.")
        )
    birth = path.with_name(path.name + ".birth")
    try:
        for end in ("", "-wal", "-shm"):
            birth.with_name(birth.name + end).unlink(missing_ok=True)
        connection = sqlite3.connect(birth, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _set_up(connection, create=True)
        finally:
            connection.close()
        hand_to_folders_owner(birth)
        sync_file(birth)
        birth.rename(path)
        sync_folder(path.parent)
    except OSError as fault:
        raise LogError(
            Phrase("the log {path} cannot be made: {strerror}", path=path, strerror=fault.strerror)
        ) from fault


def _set_up(connection: sqlite3.Connection, *, create: bool) -> None:
    # The page size holds only if it is set before the first page is written, hence before WAL.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    version = _version(connection)
    if version != SCHEMA_VERSION:
        version, by_tables = schema_numbers(connection, "log", SCHEMA_VERSION)
        if version != by_tables:
            raise LogDamaged(
                Phrase("the log's schema number {version} does not fit its tables", version=version),
                hint=Phrase("Stop the services and run `aquasmart check`."),
            )
    if version >= NEXT_MAJOR:
        raise LogError(
            Phrase("the log's schema {version} is of another major", version=version),
            hint=Phrase("Start the newer software again."),
        )
    if version < SCHEMA_VERSION and create:
        _migrate(connection)
    elif version < SCHEMA_VERSION:
        raise LogError(
            Phrase("the log has no schema yet"), hint=Phrase("The reader creates it; is aquasmart-reader running?")
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # Read again inside: another process may have migrated between the look and the lock.
        for version in range(_version(connection) + 1, SCHEMA_VERSION + 1):
            run_script(connection, f"log_{version:04}.sql")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def schema_numbers(connection: sqlite3.Connection, name: str, newest: int) -> tuple[int, int]:
    """The schema's number as the file says it and as its tables tell it; they differ by damage alone.

    The number has no checksum, and a flipped bit makes it another's. But every version adds tables and changes none
    (tests/update), so that the tables tell the number, too; of one that is newer than `newest` they tell that it is.
    """
    # One snapshot: another process may be migrating just now.
    connection.execute("BEGIN")
    try:
        said, there = _version(connection), schema_texts(connection)
    finally:
        connection.execute("COMMIT")
    fits = [each for each in range(newest + 1) if schema_of(each, name).items() <= there.items()]
    newer = fits[-1] == newest and len(there) > len(schema_of(newest, name))
    return said, max(said, newest) if newer else fits[-1]


@cache
def schema_of(version: int, name: str = "log") -> dict[str, str]:
    """Names and texts of everything that a log (or "ops") of this schema version consists of; `version` as we know it.

    Of version 0: of nothing.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for each in range(1, version + 1):
            run_script(connection, f"{name}_{each:04}.sql")
        return schema_texts(connection)
    finally:
        connection.close()


def schema_texts(connection: sqlite3.Connection) -> dict[str, str]:
    """The same of an open log. Indexes that SQLite makes by itself have no text and are left out."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def run_script(connection: sqlite3.Connection, name: str) -> None:
    """Run one of this package's `.sql` files within the transaction that is open."""
    # executescript() would commit the surrounding transaction; statements are run one by one inside it.
    script = resources.files("aquasmart_station.adapters.sql").joinpath(name).read_text()
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def has_schema(path: Path) -> bool:
    """Whether a reader has made the log, so that sync can open it."""
    if not path.exists():
        return False
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            return _version(connection) >= SCHEMA_VERSION
        finally:
            connection.close()
    except sqlite3.Error:
        return False
