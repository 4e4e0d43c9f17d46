"""Rows in bulk: out of one database's snapshot in the order of the keys, into another one, and what they come to.

Knows no table but by the schema's list, so a new table is never forgotten. Constant memory: rows are streamed, and a
portion is bounded in bytes as well as in rows. When and why rows move is `store.copying`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, bindparam, func, select, text, tuple_

from . import schema

PORTION_ROWS = 5_000
PORTION_BYTES = 4 * 1024 * 1024
_FETCHED = 100
"""Rows that the driver fetches at a time: as many of the largest bodies are what memory must hold."""

Values = tuple[Any, ...]
Progress = Callable[[str, int, int], None]
"""Told the table, its rows that are there, and of how many."""

_COLUMN_TYPES = text(
    "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attnum > 0"
).bindparams(bindparam("name"))


def tables() -> list[Table]:
    """All tables of the schema, those first to which others refer."""
    return list(schema.metadata.sorted_tables)


def hold_snapshot(reading: Connection) -> None:
    """All that this connection reads from now on is of this moment, whoever writes meanwhile, however long it takes."""
    if reading.dialect.name == "postgresql":
        reading.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # It is idle while the other database works: the limit that is set against hanging processes is not for it.
        reading.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    reading.execute(select(func.count()).select_from(schema.station))


def count(connection: Connection, table: Table) -> int:
    """How many rows a table has."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def rows_after(reading: Connection, table: Table, after: Sequence[Any] | None) -> Iterator[Values]:
    """A table's rows in the order of its key, all of them or those whose key comes after `after`."""
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key)
    if after is not None:
        mark = [bindparam(None, value, column.type) for column, value in zip(key, after, strict=True)]
        query = query.where(tuple_(*key) > tuple_(*mark))
    with reading.execution_options(stream_results=True, yield_per=_FETCHED).execute(query) as found:
        yield from found


def portions(rows: Iterator[Values]) -> Iterator[list[Values]]:
    """Rows in portions that fit into one transaction and into memory."""
    portion: list[Values] = []
    held = 0
    for row in rows:
        portion.append(row)
        held += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(portion) == PORTION_ROWS or held >= PORTION_BYTES:
            yield portion
            portion, held = [], 0
    if portion:
        yield portion


def write(writing: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Add rows within the connection's transaction, as fast as its database takes them."""
    if writing.dialect.name == "postgresql":
        _copy_in(writing, table, rows)
        return
    marks = ", ".join("?" * len(table.columns))
    statement = f"INSERT INTO {table.name} ({_names(table)}) VALUES ({marks})"  # noqa: S608  (the schema's own names)
    writing.exec_driver_sql(statement, [tuple(map(_plain, row)) for row in rows])


def _copy_in(writing: Connection, table: Table, rows: Sequence[Values]) -> None:
    """PostgreSQL's COPY, in binary: each value in the very type of its column."""
    types = {str(name): int(kind) for name, kind in writing.execute(_COLUMN_TYPES, {"name": table.name})}
    raw: Any = writing.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({_names(table)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([types[column.name] for column in table.columns])
        for row in rows:
            copy.write_row(row)


def _names(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _plain(value: Any) -> Any:
    """SQLite keeps UUIDs as 32 hex digits."""
    return value.hex if isinstance(value, UUID) else value


def fingerprint(connection: Connection, table: Table, rows: int, progress: Progress) -> tuple[int, int]:
    """Rows, and a sum over their digests, which does not depend on their order: databases sort text differently."""
    found = total = 0
    options = connection.execution_options(stream_results=True, yield_per=_FETCHED)
    with options.execute(select(table)) as streamed:
        for row in streamed:
            total += int.from_bytes(hashlib.blake2b(repr(tuple(row)).encode(), digest_size=16).digest(), "big")
            found += 1
            if found % PORTION_ROWS == 0:
                progress(f"{table.name}, verified", found, rows)
    progress(f"{table.name}, verified", found, rows)
    return found, total % (1 << 128)


def totals(connection: Connection) -> dict[str, int]:
    """What the books come to: stations, ledger, named differences, rollups of each grain; foreign events likewise."""
    station, rollup = schema.station.c, schema.rollup.c
    interval, entry = schema.ledger_interval.c, schema.ledger_entry.c
    foreign = schema.schema_foreign
    asked = {
        "events": select(func.sum(station.events)),
        "volume_ul": select(func.sum(station.volume_ul)),
        "disputed_ul": select(func.sum(station.disputed_ul)),
        "ledger_counts": select(func.sum(interval.to_counts - interval.from_counts)),
        "open_differences": select(func.count()).where(entry.state == "open"),
        "marks": select(func.sum(schema.stream.c.mark_seq)),
        "foreign_events": select(func.sum(foreign.intake.c.last_event)),
        "foreign_failures": select(func.sum(foreign.intake.c.last_failed)),
    }
    for grain in schema.GRAIN_WIDTHS_MS:
        asked[f"rollup_{grain}_ul"] = select(func.sum(rollup.volume_ul)).where(rollup.grain == grain)
        cell = foreign.foreign_rollup.c
        asked[f"foreign_rollup_{grain}_events"] = select(func.sum(cell.events)).where(cell.grain == grain)
    return {name: int(connection.execute(query).scalar() or 0) for name, query in asked.items()}


def last_word(connection: Connection) -> int:
    """A figure that moves whenever a station is heard, for seeing that a cloud is running. Unix ms, of no station 0."""
    return int(connection.execute(select(func.max(schema.station.c.last_seen_at))).scalar() or 0)
