"""Backups: one SQLite file, whatever the store, made while the cloud runs; and the way back.

A backup is itself a database of this schema, so it can be verified, opened and audited like any other. SQLite makes it
by its own online copy, page by page; PostgreSQL's rows are copied and compared (store.copying). Either is one snapshot:
what is written meanwhile neither stops it nor gets half into it. Large servers are better backed up with PostgreSQL's
own means (pg_basebackup with its WAL), which this does not replace.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from aquasmart_cloud.core.errors import DatabaseError

from . import migrating
from .bulk import Progress
from .copying import Copied, CopyError, copy_database
from .database import Database

_PAGES = 1_000
"""Pages copied at a time: writers get their turn between."""


def back_up(database: Database, file: Path, now_ms: int, progress: Progress = lambda *_: None) -> None:
    """Make `file`, whole or not at all, with mode 0600. Errors: CopyError, DatabaseError, OSError."""
    if file.exists():
        raise CopyError(f"{file} exists already", "a backup is never written over another; name a new file")
    migrating.current_revision(database)
    unfinished = file.with_name(file.name + ".unfinished")
    # One that was broken off is of another moment: it is begun anew.
    _remove(unfinished)
    _make_private(unfinished)
    if database.kind == "sqlite":
        _copy_pages(Path(database.name), unfinished, progress)
    else:
        target = Database(f"sqlite:///{unfinished.resolve()}")
        try:
            copy_database(database, target, now_ms, progress, moment_is_enough=True)
        finally:
            target.close()
    _seal(unfinished)
    unfinished.rename(file)
    _sync(file.parent)


def restore(file: Path, database: Database, now_ms: int, progress: Progress = lambda *_: None) -> Copied:
    """Fill the empty `database` from a backup, and verify it. Errors: CopyError, DatabaseError.

    The stations send again what the cloud took in after the backup was made: nothing has to be done for that.
    """
    source = Database(f"sqlite:///{file.resolve()}")
    try:
        _check(file)
        if migrating.current_revision(source) != migrating.newest_revision():
            raise CopyError(
                f"{file} was made by another version of aquasmart-cloud",
                "run 'aquasmart-cloud db upgrade' on a copy of it, with AQUASMART_DATABASE_URL=sqlite:///COPY",
            )
        return copy_database(source, database, now_ms, progress)
    finally:
        source.close()


def _copy_pages(source: Path, target: Path, progress: Progress) -> None:
    """Page by page, from one snapshot.

    Without a transaction of its own, SQLite begins the whole copy anew whenever another process has written: a busy
    cloud would never get a backup (tests/integration/store/test_saving.py).
    """
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, isolation_level=None)) as one,
            closing(sqlite3.connect(target)) as other,
        ):
            one.execute("BEGIN")
            one.execute("SELECT count(*) FROM station").fetchone()
            one.backup(other, pages=_PAGES, progress=lambda _, left, pages: progress("pages", pages - left, pages))
            other.execute("PRAGMA journal_mode=DELETE")
        _check(target)
    except sqlite3.Error as fault:
        raise DatabaseError(f"the backup was broken off: {fault}") from fault


def _check(file: Path) -> None:
    """Errors: DatabaseError where the file is damaged or no database."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as fault:
        raise DatabaseError(f"{file} cannot be read: {fault}", "is it a backup of aquasmart-cloud?") from fault
    if said != "ok":
        raise DatabaseError(f"{file} is damaged: {said}", "restore another backup")


def _make_private(path: Path) -> None:
    """It holds everything but the master key."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _remove(path: Path) -> None:
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        each.unlink(missing_ok=True)


def _seal(path: Path) -> None:
    """One file, on the disk: the WAL that writing it left is taken in."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
