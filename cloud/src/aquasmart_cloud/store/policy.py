"""What the operator demands of stations, as stored. The only writer of `policy`."""

from __future__ import annotations

from aquasmart_cloud.core.policy import Policy, Rate, version

from .database import Database

MINIMUM_VERSION = "minimum-version"
RATE_LIMIT = "rate-limit"

_ALL = "SELECT name, value FROM policy"
_SET = (
    "INSERT INTO policy (name, value, set_at) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value, set_at = excluded.set_at"
)
_CLEAR = "DELETE FROM policy WHERE name = ?"
_KEY = "policy"


def read_policy(database: Database) -> Policy:
    """What is demanded now. Errors: DatabaseError."""
    with database.reading() as connection:
        found = dict(connection.execute(_ALL).fetchall())
    rate = found.get(RATE_LIMIT)
    return Policy(found.get(MINIMUM_VERSION), None if rate is None else Rate.parse(rate))


def recent_policy(database: Database) -> Policy:
    """The same for requests, at most a second old: a new demand may find one more second of requests before it.

    Errors: DatabaseError.
    """
    return database.recent.get(_KEY, lambda: read_policy(database))


def require_version(database: Database, least: str | None, now_ms: int) -> None:
    """Refuse software below `least`; None: any is welcome. Errors: StationError, DatabaseError."""
    if least is not None:
        version(least)
    _keep(database, MINIMUM_VERSION, least, now_ms)


def limit_rate(database: Database, rate: str | None, now_ms: int) -> None:
    """Refuse what a station asks above `rate`, `600/minute`; None: no limit. Errors: StationError, DatabaseError."""
    if rate is not None:
        Rate.parse(rate)
    _keep(database, RATE_LIMIT, rate, now_ms)


def _keep(database: Database, name: str, value: str | None, now_ms: int) -> None:
    with database.writing() as connection:
        if value is None:
            connection.execute(_CLEAR, (name,))
        else:
            connection.execute(_SET, (name, value.strip(), now_ms))
    database.recent.forget()
