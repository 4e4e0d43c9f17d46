"""What `aquasmart-cloud doctor` asks of the database: reads only, and each answers for itself where another fails.

Figures and settings come from here; what is good or bad about them is services.doctor's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from aquasmart_cloud.core.errors import DatabaseError

from .database import Database

_POSTGRES = ("fsync", "synchronous_commit", "full_page_writes")


class Lease(NamedTuple):
    """Who holds the worker's lease, and until when (Unix ms by the database's clock)."""

    holder: str
    expires_at: int


class Job(NamedTuple):
    """A job of the worker whose last runs failed."""

    name: str
    failures: int
    error: str


def settings(database: Database) -> dict[str, str]:
    """What durability hangs on, as the database says for a connection like the cloud's own. Errors: DatabaseError."""
    with database.reading() as connection:
        if database.kind == "sqlite":
            names = ("journal_mode", "synchronous")
            return {name: str(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names}
        return {name: str(connection.execute("SELECT current_setting(?)", (name,)).fetchone()[0]) for name in _POSTGRES}


def clock_ms(database: Database) -> int:
    """The database's own clock, Unix ms. Errors: DatabaseError."""
    question = (
        "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        if database.kind == "sqlite"
        else "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    )
    return _one(database, question)


def last_heard_ms(database: Database) -> int | None:
    """When a station was last heard, by whichever process took it in. Errors: DatabaseError."""
    with database.reading() as connection:
        found: int | None = connection.execute("SELECT max(last_seen_at) FROM station").fetchone()[0]
    return found


def open_failures(database: Database) -> int:
    """Foreign events that nobody has dealt with. Errors: DatabaseError."""
    return _one(database, "SELECT count(*) FROM failed_event WHERE state = 'open'")


def open_differences(database: Database) -> int:
    """Named differences of the books that are open. Errors: DatabaseError."""
    return _one(database, "SELECT count(*) FROM ledger_entry WHERE state = 'open'")


def worker_lease(database: Database) -> Lease | None:
    """The worker's lease; None where there was never a worker, or this version has none. Errors: DatabaseError."""
    rows = _rows_if_there(database, "lease", "SELECT holder, expires_at FROM lease ORDER BY expires_at DESC")
    return Lease(*rows[0]) if rows else None


def failing_jobs(database: Database) -> list[Job]:
    """Jobs of the worker whose last run failed. Errors: DatabaseError."""
    rows = _rows_if_there(database, "job_run", "SELECT job, failures, error FROM job_run WHERE failures > 0")
    return [Job(*row) for row in rows]


def _rows_if_there(database: Database, table: str, question: str) -> list[Any]:
    database.require()
    try:
        there = inspect(database.engine).has_table(table)
    except SQLAlchemyError as fault:
        raise DatabaseError(str(fault)) from fault
    if not there:
        return []
    with database.reading() as connection:
        return connection.execute(question).fetchall()


def _one(database: Database, question: str) -> int:
    with database.reading() as connection:
        return int(connection.execute(question).fetchone()[0])
