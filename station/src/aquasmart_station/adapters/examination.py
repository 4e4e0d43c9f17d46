"""Is log.db sound? Looked at from its end backwards, within a time, without writing to it.

A verdict, never a remedy. `damage` is set for what SQLite calls malformed, for what is no log of ours, and for rows
whose checksum does not hold. A disk that is full, a file that cannot be opened or read, a lock: those raise, since they
say nothing about what the file holds.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import LogDamaged, LogError
from ..core.model import Row
from ..core.phrases import Phrase
from .cross_checks import contradictions
from .log_file import (
    APPLICATION_ID,
    PAGE_BYTES,
    SCHEMA_VERSION,
    damaged_text,
    log_fault,
    quoting_no_text,
    read_header,
    schema_numbers,
    schema_of,
    schema_texts,
)
from .log_rows import row_crc32_of

TABLES = frozenset({"stream", "event", "delivery", "fence"})
LEAST_ROWS = 1_000
"""So many of the latest rows are verified however little time there is."""
PAGE_ROWS = 1_000
BUSY_S = 1.0

_ROWS = """
SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data, crc32, stream FROM event
WHERE position < ? ORDER BY position DESC LIMIT ?
"""
_BEYOND = (1 << 63) - 1


@dataclass(slots=True)
class Examination:
    """What was looked at, and what was found."""

    damage: list[str] = field(default_factory=list)
    """Why the log is damaged, in words; empty: nothing was found."""
    exists: bool = True
    rows: int = 0
    """Rows whose checksum was verified or found wrong, from the end backwards."""
    bad_rows: int = 0
    all_rows: bool = False
    structure: str = "not looked at"
    """SQLite's own check: sound, damaged, or cut short by time."""


def examine(
    path: Path, *, mono_s: Callable[[], float], within_s: float | None = None, structure: bool = True
) -> Examination:
    """Look at the log for at most about `within_s` (None: all of it). Raises LogError where it cannot be looked at."""
    found = Examination()
    if _nothing_there(path, found):
        return found
    until_s = None if within_s is None else mono_s() + within_s
    rows_until_s = None if within_s is None else mono_s() + within_s / 2
    try:
        connection = _open(path)
        try:
            with quoting_no_text():
                identities = _identities(connection, found)
            if identities is not None and not found.damage:
                _small_tables(connection, found)
            if identities is not None and not found.damage:
                _rows_backwards(connection, identities, found, lambda: _over(mono_s, rows_until_s))
            if identities is not None and not found.damage:
                found.damage += list(contradictions(connection))[:10]
            if structure and not found.damage:
                _structure(connection, found, lambda: _over(mono_s, until_s))
        finally:
            connection.close()
    except sqlite3.Error as fault:
        meaning = log_fault(fault, Phrase("{path} cannot be looked at: {fault}", path=path, fault=fault))
        # ERROR: a statement that never changes does not fit the schema, so the schema is not what it was.
        if not isinstance(meaning, LogDamaged) and getattr(fault, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise meaning from fault
        found.damage.append(Phrase("SQLite says: {fault}", fault=fault))
    if found.damage:
        _read_through(path)
    return found


def _read_through(path: Path) -> None:
    """Read the files plainly: SQLite reports a sector that cannot be read (EIO) as CORRUPT, which says more than it is.

    Seen in SQLite 3.40: unixRead gives IOERR_CORRUPTFS for EIO, and the statement then ends with CORRUPT.
    """
    try:
        for part in (path, path.with_name(path.name + "-wal")):
            if part.exists():
                with part.open("rb") as file:
                    while file.read(1 << 20):
                        pass
    except OSError as fault:
        raise LogError(
            Phrase("{path} cannot be read: {strerror}", path=path, strerror=fault.strerror),
            hint=Phrase("The card may be failing. `aquasmart log salvage --force` saves what can still be read."),
        ) from fault


def _nothing_there(path: Path, found: Examination) -> bool:
    """What must be seen before SQLite opens the file: it would delete the -wal of an empty one. True: no need to."""
    wal = path.with_name(path.name + "-wal")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        found.exists = False
        if wal.exists() and wal.stat().st_size:
            found.damage.append(Phrase("log.db is missing, but its -wal is there"))
        return True
    except OSError as fault:
        raise LogError(Phrase("{path} cannot be looked at: {strerror}", path=path, strerror=fault.strerror)) from fault
    if size == 0:
        found.damage.append(Phrase("log.db is empty (0 bytes)"))
    elif not _begins_as_a_log(path):
        found.damage.append(Phrase("the file is no log of ours: its header is another one"))
    return bool(found.damage)


def _begins_as_a_log(path: Path) -> bool:
    """Page size, WAL for writing and reading, nothing reserved: a flipped bit here makes a log read-only for SQLite."""
    try:
        with path.open("rb") as file:
            return file.read(21)[16:] == PAGE_BYTES.to_bytes(2, "big") + b"\x02\x02\x00"
    except IsADirectoryError:
        return True  # SQLite says so better
    except OSError as fault:
        raise LogError(Phrase("{path} cannot be looked at: {strerror}", path=path, strerror=fault.strerror)) from fault


def _open(path: Path) -> sqlite3.Connection:
    open_or_cut = any(path.with_name(path.name + end).exists() for end in ("-shm", "-wal"))
    mode = "mode=ro" if open_or_cut else "immutable=1"
    connection = sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=BUSY_S, isolation_level=None)
    connection.text_factory = damaged_text
    connection.execute("PRAGMA query_only = ON")
    return connection


def _identities(connection: sqlite3.Connection, found: Examination) -> dict[int, bytes] | None:
    """Stream numbers to identities, None without a schema. What is no log, or has unreadable headers, is damage."""
    version, by_tables = schema_numbers(connection, "log", SCHEMA_VERSION)
    there = schema_texts(connection)
    # What a newer version added is not known here; what we know must be as it was made, to the letter: a flipped bit in
    # the schema is a table or a column of another name.
    known = schema_of(min(version, SCHEMA_VERSION))
    wrong = [name for name in known if there.get(name) != known[name]] if version <= SCHEMA_VERSION else []
    missing = sorted(TABLES - there.keys())
    if missing or wrong or connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        found.damage.append(
            Phrase("the file is no log of ours: {what}", what=", ".join(missing or wrong) or "application id")
        )
        return None
    if version != by_tables:
        found.damage.append(Phrase("the log's schema number {version} does not fit its tables", version=version))
        return None
    identities = {}
    for number, identity, text in connection.execute("SELECT stream, id, header FROM stream").fetchall():
        if not header_is_sound(identity, text):
            found.damage.append(Phrase("the header of stream {number} cannot be read", number=number))
        identities[number] = identity
    return identities


def header_is_sound(identity: object, text: object) -> bool:
    """Whether a stream's header is whole, by its checksum, and about this very stream."""
    try:
        return isinstance(identity, bytes) and read_header(str(text)).id.bytes == identity
    except LogDamaged:
        return False


def _rows_backwards(
    connection: sqlite3.Connection, identities: dict[int, bytes], found: Examination, over: Callable[[], bool]
) -> None:
    """A page of rows at a time: no read transaction lasts."""
    position = _BEYOND
    while not (over() and found.rows >= LEAST_ROWS):
        page = connection.execute(_ROWS, (position, PAGE_ROWS)).fetchall()
        if not page:
            found.all_rows = True
            break
        position = page[-1][0]
        found.rows += len(page)
        found.bad_rows += sum(not _is_sound(values, identities) for values in page)
    if found.bad_rows:
        found.damage.append(Phrase("{bad_rows} rows whose checksum is wrong", bad_rows=found.bad_rows))


def _is_sound(values: tuple[object, ...], identities: dict[int, bytes]) -> bool:
    try:
        return row_crc32_of(identities[values[10]], Row._make(values[:9])) == values[9]  # type: ignore[index]
    except (KeyError, struct.error, AttributeError, TypeError):
        return False


def _small_tables(connection: sqlite3.Connection, found: Examination) -> None:
    """All of every table but the events', with its indexes, which `quick_check` does not read: where one of those is
    damaged, every row can be read and none be written."""
    for name in sorted(schema_of(SCHEMA_VERSION).keys() & schema_texts(connection).keys() - {"event"}):
        said = [text for (text,) in connection.execute(f"PRAGMA integrity_check('{name}')")]
        if said != ["ok"]:
            found.damage.append(f"SQLite's check of {name} says: " + "; ".join(said[:3]))


def _structure(connection: sqlite3.Connection, found: Examination, over: Callable[[], bool]) -> None:
    connection.set_progress_handler(over, 10_000)
    try:
        said = [text for (text,) in connection.execute("PRAGMA quick_check(20)")]
    except sqlite3.OperationalError as fault:
        if getattr(fault, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        found.structure = "cut short by time"
        return
    finally:
        connection.set_progress_handler(None, 0)
    found.structure = "sound" if said == ["ok"] else "damaged"
    if said != ["ok"]:
        found.damage.append("SQLite's check says: " + "; ".join(said[:5]))


def _over(mono_s: Callable[[], float], until_s: float | None) -> bool:
    return until_s is not None and mono_s() >= until_s
