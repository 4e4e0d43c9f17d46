"""Months: the partitions of `batch` and `notable` on PostgreSQL, and letting whole months go on both stores.

Nothing is let go unless an operator has said for how long to keep it (`AQUASMART_RETENTION_MONTHS`). What is counted
does not depend on it: marks, ledger and rollups outlive the batches, so a replay of what was let go counts nothing.
What nobody made a partition for lies in the default one; making it later moves the rows there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from .connection import Connection
from .database import Database

TIME_OF = {"batch": "received_at", "notable": "at"}
"""Table → the column that decides its month (UTC, ms). A batch's month is that of its receipt: it is never in the
past, so that the months which are full stay as they are."""
MONTHS_AHEAD = 3
_PORTION = 500
"""Rows that SQLite deletes in one transaction: a station waits no longer than for these."""

_EXISTS = "SELECT to_regclass(?)"
_PARTITIONS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent"
    " WHERE p.relname = ? ORDER BY c.relname"
)


def month_start_ms(year: int, month: int) -> int:
    """The first millisecond of a month, which may be counted beyond 12 or below 1."""
    year, index = year + (month - 1) // 12, (month - 1) % 12
    return int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp()) * 1000


def months_from(now_ms: int, first: int, last: int) -> Iterator[tuple[str, int, int]]:
    """Months as (suffix, first ms, first ms of the next), by their distance from the present one."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC)
    for distance in range(first, last + 1):
        low, high = (month_start_ms(today.year, today.month + distance + step) for step in (0, 1))
        begins = datetime.fromtimestamp(low / 1000, UTC)
        yield f"{begins.year:04}_{begins.month:02}", low, high


def months_between(first_ms: int, now_ms: int) -> int:
    """How many months ago `first_ms` was: 0 for one that lies in the present month, or ahead."""
    first, now = (datetime.fromtimestamp(at / 1000, UTC) for at in (first_ms, now_ms))
    return max(0, (now.year - first.year) * 12 + now.month - first.month)


def make_partitions(database: Database, now_ms: int, months_back: int = 0) -> list[str]:
    """Make the partitions of this month and the next ones; returns those that were missing. Errors: DatabaseError.

    `months_back`: of so many past months too, for a database that is filled with old rows (store.copying).
    Runs alone (Database.writing), for moments. Nothing to do on SQLite.
    """
    if database.kind != "postgresql":
        return []
    made = []
    with database.writing() as connection:
        for table in TIME_OF:
            for suffix, low, high in months_from(now_ms, -months_back, MONTHS_AHEAD):
                name = f"{table}_{suffix}"
                if connection.execute(_EXISTS, (name,)).fetchone()[0] is None:
                    _make(connection, table, name, low, high)
                    made.append(name)
    return made


def _make(connection: Connection, table: str, name: str, low: int, high: int) -> None:
    """One partition, with what lies in the default one for it: PostgreSQL would refuse it otherwise."""
    column = TIME_OF[table]
    connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)")
    connection.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {column} >= {low} AND {column} < {high} RETURNING *)"  # noqa: S608
        f" INSERT INTO {name} SELECT * FROM moved"
    )
    connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})")


def cutoff(keep_months: int, now_ms: int) -> int:
    """The first millisecond that is kept. ValueError for fewer than one month."""
    if keep_months < 1:
        raise ValueError("at least one month is kept")
    [(_, cutoff_ms, _)] = months_from(now_ms, -keep_months, -keep_months)
    return cutoff_ms


def let_go(database: Database, keep_months: int, now_ms: int, portions: int | None = None) -> dict[str, int]:
    """Delete what is older than `keep_months` whole months before this one. Table → rows. Errors: DatabaseError.

    `portions`: at most so many transactions of 500 rows for each table; all of it by default.
    ValueError for fewer than one month. Harmless when repeated or broken off.
    """
    cutoff_ms = cutoff(keep_months, now_ms)
    gone = {}
    for table in TIME_OF:
        gone[table] = _drop_partitions(database, table, cutoff_ms) if database.kind == "postgresql" else 0
        gone[table] += _delete(database, table, cutoff_ms, portions)
    return gone


def _drop_partitions(database: Database, table: str, cutoff_ms: int) -> int:
    """Counted before anybody has to wait: a full month stays as it is, and dropping it takes a moment."""
    with database.reading() as connection:
        names = [name for (name,) in connection.execute(_PARTITIONS, (table,)).fetchall()]
    gone = 0
    for name in names:
        year, _, month = name.removeprefix(f"{table}_").partition("_")
        if not year.isdecimal() or month_start_ms(int(year), int(month) + 1) > cutoff_ms:
            continue
        with database.reading() as connection:
            rows = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
        with database.writing() as connection:
            connection.execute(f"DROP TABLE {name}")
        gone += rows
    return gone


def _delete(database: Database, table: str, cutoff_ms: int, portions: int | None) -> int:
    """Row by row where there is no partition to drop: all of SQLite, and PostgreSQL's default partition."""
    name, row = (f"{table}_default", "ctid") if database.kind == "postgresql" else (table, "rowid")
    statement = (
        f"DELETE FROM {name} WHERE {row} IN"  # noqa: S608
        f" (SELECT {row} FROM {name} WHERE {TIME_OF[table]} < ? LIMIT {_PORTION})"
    )
    gone = 0
    for _ in count() if portions is None else range(portions):
        with database.writing() as connection:
            portion = connection.execute(statement, (cutoff_ms,)).rowcount
        gone += portion
        if portion < _PORTION:
            break
    return gone
