"""Failures that are tried again by themselves (`failed_retry`), and how far a newer normaliser has read a sender's
events again (`normaliser_pass`). These tables' one writer.

Functions that take a connection are part of the intake transaction, under the sender's lock: a failure that ends, by
whatever hand, leaves the queue in the same transaction, so nothing is tried that is over.
"""

from __future__ import annotations

from aquasmart_cloud.core.retrying import retry_after_ms

from .connection import Connection
from .database import Database

_ATTEMPTS = "SELECT attempts FROM failed_retry WHERE client_id = ? AND failed_seq = ?"
_SET = (
    "INSERT INTO failed_retry (client_id, failed_seq, attempts, retry_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (client_id, failed_seq) DO UPDATE SET attempts = excluded.attempts, retry_at = excluded.retry_at"
)
_DROP = "DELETE FROM failed_retry WHERE client_id = ? AND failed_seq = ?"
_SENDERS = "SELECT DISTINCT client_id FROM failed_retry WHERE retry_at <= ? ORDER BY client_id"
_DUE = "SELECT failed_seq FROM failed_retry WHERE client_id = ? AND retry_at <= ? ORDER BY retry_at, failed_seq LIMIT ?"
_WAITING = "SELECT COUNT(*) FROM failed_retry"
_VERSIONS = "SELECT client_id, version FROM normaliser_pass"
_PASSED = (
    "INSERT INTO normaliser_pass (client_id, version, finished_at) VALUES (?, ?, ?)"
    " ON CONFLICT (client_id) DO UPDATE SET version = excluded.version, finished_at = excluded.finished_at"
)


def tried(connection: Connection, place: tuple[str, int], now_ms: int) -> None:
    """It was tried and could not be read, the first time or again: the next time is later, or never."""
    row = connection.execute(_ATTEMPTS, place).fetchone()
    attempts = 0 if row is None else row[0] + 1
    wait_ms = retry_after_ms(attempts)
    if wait_ms is None:
        drop(connection, place)
    else:
        connection.execute(_SET, (*place, attempts, now_ms + wait_ms))


def drop(connection: Connection, place: tuple[str, int]) -> None:
    """It is not tried again by itself."""
    connection.execute(_DROP, place)


def forget(database: Database, place: tuple[str, int]) -> None:
    """The same in a transaction of its own. Errors: DatabaseError."""
    with database.writing() as connection:
        drop(connection, place)


def senders_due(database: Database, now_ms: int) -> list[str]:
    """Senders that have failures to be tried now. Errors: DatabaseError."""
    with database.reading() as connection:
        return [client_id for (client_id,) in connection.execute(_SENDERS, (now_ms,)).fetchall()]


def due(database: Database, client_id: str, now_ms: int, limit: int) -> list[int]:
    """A sender's failures to be tried now, those that wait longest first. Errors: DatabaseError."""
    with database.reading() as connection:
        return [int(seq) for (seq,) in connection.execute(_DUE, (client_id, now_ms, limit)).fetchall()]


def waiting(database: Database) -> int:
    """How many failures wait to be tried again. Errors: DatabaseError."""
    with database.reading() as connection:
        return int(connection.execute(_WAITING).fetchone()[0])


def versions(database: Database) -> dict[str, int]:
    """Sender → the version of the normaliser that has read everything of it. Errors: DatabaseError."""
    with database.reading() as connection:
        return {client_id: int(version) for client_id, version in connection.execute(_VERSIONS).fetchall()}


def passed(database: Database, client_id: str, version: int, now_ms: int) -> None:
    """This version has read everything of this sender. Errors: DatabaseError."""
    with database.writing() as connection:
        connection.execute(_PASSED, (client_id, version, now_ms))
