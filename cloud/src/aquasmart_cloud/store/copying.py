"""Moving house: every row of one database into another, verified, and resumed where it was broken off.

What is read is one snapshot. Each portion is written in one transaction together with how far its table has come, so a
copy that is killed goes on at the row after the last that is there; it does so only while the source is what it was,
which its counts and totals tell. Nothing here knows a table by name but those totals: a new table is copied too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Row,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from aquasmart_cloud.core.errors import CloudError, DatabaseError

from . import migrating, schema
from .database import Database
from .partitions import make_partitions

_PORTION = 200
"""Rows of one transaction: 200 of the largest bodies are what memory must hold."""

_progress = Table(
    "copy_progress",
    MetaData(),
    Column("table_name", String(64), primary_key=True),
    Column("rows_done", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    comment="writer: store.copying. Only there while a copy is under way",
)

Progress = Callable[[str, int, int], None]
"""Told the table, its rows that are there, and of how many."""


class CopyError(CloudError):
    """A copy cannot begin, go on, or does not agree with its source."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by table, and the totals that both databases agree on."""

    tables: dict[str, int]
    totals: dict[str, int]


def copy_database(source: Database, target: Database, now_ms: int, progress: Progress = lambda *_: None) -> Copied:
    """Copy everything, or the rest of it. Both are at this version's schema then, and verified to be alike.

    Errors: CopyError, DatabaseError; run it again to go on.
    """
    if migrating.current_revision(source) != migrating.newest_revision():
        raise CopyError(
            f"{source.name} is not at this version's schema", "'aquasmart-cloud db upgrade' brings it there"
        )
    migrating.upgrade(target)
    make_partitions(target, now_ms)
    try:
        with source.engine.connect() as reading:
            _one_snapshot(reading)
            counts = {table.name: _count(reading, table) for table in _tables()}
            totals = _totals(reading)
            _begin(target, json.dumps([counts, totals], sort_keys=True))
            for table in _tables():
                _copy_table(reading, target, table, counts[table.name], progress)
            _verify(reading, target, counts, totals, progress)
        with target.engine.begin() as writing:
            _progress.drop(writing)
    except SQLAlchemyError as fault:
        raise DatabaseError(f"the copy was broken off: {fault}", "run the same command again: it goes on") from fault
    return Copied(counts, totals)


_THE_WORKERS = {"lease", "job_run", "fleet_rollup", "fleet_mark", "fleet_fill"}
"""Each database's own: who works on it now, and figures that the worker fills in again from the stations' rollups."""


def _tables() -> list[Table]:
    return [table for table in schema.metadata.sorted_tables if table.name not in _THE_WORKERS]


def _one_snapshot(reading: Connection) -> None:
    """All that follows sees the database of this moment, whoever writes meanwhile."""
    if reading.dialect.name == "postgresql":
        reading.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    reading.execute(select(func.count()).select_from(schema.station))


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _totals(connection: Connection) -> dict[str, int]:
    """What the books come to: stations, rollups of each grain, ledger, named differences."""
    station, rollup = schema.station.c, schema.rollup.c
    interval, entry = schema.ledger_interval.c, schema.ledger_entry.c
    asked = {
        "events": select(func.sum(station.events)),
        "volume_ul": select(func.sum(station.volume_ul)),
        "disputed_ul": select(func.sum(station.disputed_ul)),
        "ledger_counts": select(func.sum(interval.to_counts - interval.from_counts)),
        "open_differences": select(func.count()).where(entry.state == "open"),
        "marks": select(func.sum(schema.stream.c.mark_seq)),
    }
    for grain in schema.GRAIN_WIDTHS_MS:
        asked[f"rollup_{grain}_ul"] = select(func.sum(rollup.volume_ul)).where(rollup.grain == grain)
    return {name: int(connection.execute(query).scalar() or 0) for name, query in asked.items()}


def _begin(target: Database, source: str) -> None:
    """Remember what is copied, or make sure that it is still the same. Errors: CopyError."""
    with target.engine.begin() as writing:
        if not inspect(writing).has_table(_progress.name):
            filled = [table.name for table in _tables() if _count(writing, table)]
            if filled:
                raise CopyError(
                    f"{target.name} is not empty: it has rows in {', '.join(filled)}",
                    "copy into a database of its own; nothing is ever copied over something else",
                )
            _progress.create(writing)
            rows = [{"table_name": table.name, "rows_done": 0, "source": source} for table in _tables()]
            writing.execute(insert(_progress), rows)
        elif writing.execute(select(_progress.c.source).limit(1)).scalar_one() != source:
            raise CopyError(
                "the source has changed since this copy began",
                f"stop the cloud, make {target.name} anew and copy again",
            )


def _copy_table(reading: Connection, target: Database, table: Table, rows: int, progress: Progress) -> None:
    with target.engine.connect() as connection:
        done = int(
            connection.execute(select(_progress.c.rows_done).where(_progress.c.table_name == table.name)).scalar_one()
        )
    progress(table.name, done, rows)
    # The order of the key is the same at each run, since the source is: its first rows are those that are there.
    query = select(table).order_by(*table.primary_key.columns).offset(done)
    for portion in _portions(reading, query):
        done += len(portion)
        with target.engine.begin() as writing:
            writing.execute(insert(table), [dict(row._mapping) for row in portion])  # noqa: SLF001
            writing.execute(update(_progress).where(_progress.c.table_name == table.name).values(rows_done=done))
        progress(table.name, done, rows)


def _portions(reading: Connection, query: Any) -> Iterator[Sequence[Row[Any]]]:
    streamed = reading.execution_options(stream_results=True, yield_per=_PORTION)
    with streamed.execute(query) as found:
        yield from found.partitions()


def _verify(
    reading: Connection, target: Database, counts: dict[str, int], totals: dict[str, int], progress: Progress
) -> None:
    """Both have the same rows, each column of them, and come to the same totals. Errors: CopyError."""
    with target.engine.connect() as copied:
        wrong = [
            table.name
            for table in _tables()
            if _fingerprint(reading, table, counts, progress) != _fingerprint(copied, table, counts, progress)
        ]
        found = _totals(copied)
    wrong += [f"{name}: {totals[name]} became {found[name]}" for name in totals if found[name] != totals[name]]
    if wrong:
        hint = f"make {target.name} anew and copy again"
        raise CopyError(f"the copy is not like its source: {', '.join(wrong)}", hint)


def _fingerprint(connection: Connection, table: Table, counts: dict[str, int], progress: Progress) -> tuple[int, int]:
    """Rows, and a sum over their digests, which does not depend on their order: databases sort text differently."""
    rows = total = 0
    for portion in _portions(connection, select(table)):
        for row in portion:
            total += int.from_bytes(hashlib.blake2b(repr(tuple(row)).encode(), digest_size=16).digest(), "big")
        rows += len(portion)
        progress(f"{table.name}, verified", rows, counts[table.name])
    return rows, total % (1 << 128)
