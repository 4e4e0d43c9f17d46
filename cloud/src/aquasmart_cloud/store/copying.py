"""Moving house: every row of one database into another, verified, and resumed where it was broken off.

What is read is one snapshot. Each portion is written in one transaction together with the key of its last row, so a
copy that is killed, at whatever instruction, goes on at the row after the last that is there: neither a gap nor a
repetition, since the key is stored exactly when its rows are. It goes on only while the source is what it was, which
its counts and totals tell, and at the end every column of every row is compared. Nothing here knows a table by name:
a new table is copied too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, Text, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError

from aquasmart_cloud.core.errors import CloudError, DatabaseError

from . import bulk, migrating
from .bulk import Progress
from .database import Database
from .partitions import TIME_OF, make_partitions, months_between

_progress = Table(
    "copy_progress",
    MetaData(),
    Column("table_name", String(64), primary_key=True),
    Column("rows_done", BigInteger, nullable=False),
    Column("last_key", Text),
    Column("source", Text, nullable=False),
    comment="writer: store.copying. Only there while a copy is under way",
)
_MOST_MONTHS = 240
"""A server whose clock once stood at 1970 must not cost a thousand partitions."""
_OURS_BESIDES = frozenset({_progress.name, "alembic_version"})


class CopyError(CloudError):
    """A copy cannot begin, go on, or does not agree with its source."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by table, and the totals that both databases agree on.

    `since`: what the source has taken in after the moment that was copied, rows by table; all empty where it stood
    still, `heard` where a station was only heard.
    """

    tables: dict[str, int]
    totals: dict[str, int]
    since: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a snapshot holds, to be recognised again."""

    counts: dict[str, int]
    totals: dict[str, int]
    last_word: int

    @classmethod
    def of(cls, connection: Connection) -> _Moment:
        counts = {table.name: bulk.count(connection, table) for table in bulk.tables()}
        return cls(counts, bulk.totals(connection), bulk.last_word(connection))

    def text(self) -> str:
        return json.dumps([self.counts, self.totals, self.last_word], sort_keys=True)

    def since(self, former: _Moment) -> dict[str, int]:
        """What has come since another moment: rows by table, or that stations were heard; nothing where it is alike."""
        if self == former:
            return {}
        grown = {name: rows - former.counts[name] for name, rows in self.counts.items() if rows != former.counts[name]}
        return grown or {"heard": 1}


def copy_database(
    source: Database,
    target: Database,
    now_ms: int,
    progress: Progress = lambda *_: None,
    *,
    moment_is_enough: bool = False,
) -> Copied:
    """Copy everything, or the rest of it. Both are at this version's schema then, and verified to be alike.

    A source that was written meanwhile is refused at the end, since the copy lacks what came; `moment_is_enough`: the
    caller wants the snapshot and nothing later (a backup). Errors: CopyError, DatabaseError; run it again to go on.
    """
    if migrating.current_revision(source) != migrating.newest_revision():
        raise CopyError(
            f"{source.name} is not at this version's schema", "'aquasmart-cloud db upgrade' brings it there"
        )
    migrating.upgrade(target)
    try:
        with source.engine.connect() as reading:
            bulk.hold_snapshot(reading)
            _refuse_unknown(source, reading)
            moment = _Moment.of(reading)
            _begin(target, moment)
            _make_months(reading, target, now_ms)
            for table in bulk.tables():
                _copy_table(reading, target, table, moment.counts[table.name], progress)
            _verify(reading, target, moment, progress)
        since = _since(source, moment)
        if since and not moment_is_enough:
            raise _written_meanwhile(source, target, since)
        with target.engine.begin() as writing:
            _progress.drop(writing)
    except SQLAlchemyError as fault:
        raise DatabaseError(f"the copy was broken off: {fault}", "run the same command again: it goes on") from fault
    return Copied(moment.counts, moment.totals, since)


def _refuse_unknown(source: Database, reading: Connection) -> None:
    """A table that this version does not know would stay behind. Errors: CopyError."""
    months = tuple(f"{table}_" for table in TIME_OF)
    known = {table.name for table in bulk.tables()} | _OURS_BESIDES
    unknown = [name for name in inspect(reading).get_table_names() if name not in known and not name.startswith(months)]
    if unknown:
        raise CopyError(
            f"{source.name} has tables that this version does not know: {', '.join(sorted(unknown))}",
            "copy with the version that made them, or drop them if they are none of AquaSmart's",
        )


def _make_months(reading: Connection, target: Database, now_ms: int) -> None:
    """A partition for each month since the first receipt: what is copied is then let go as quickly as what comes."""
    [first_ms] = reading.exec_driver_sql("SELECT MIN(received_at) FROM batch").one()
    months = 0 if first_ms is None else months_between(int(first_ms), now_ms)
    make_partitions(target, now_ms, min(months, _MOST_MONTHS))


def _begin(target: Database, moment: _Moment) -> None:
    """Remember what is copied, or make sure that it is still the same. Errors: CopyError."""
    with target.engine.begin() as writing:
        if not inspect(writing).has_table(_progress.name):
            filled = [table.name for table in bulk.tables() if bulk.count(writing, table)]
            if filled:
                raise CopyError(
                    f"{target.name} is not empty: it has rows in {', '.join(filled)}",
                    "copy into a database of its own; nothing is ever copied over something else",
                )
            _progress.create(writing)
            source = moment.text()
            rows = [{"table_name": table.name, "rows_done": 0, "source": source} for table in bulk.tables()]
            writing.execute(insert(_progress), rows)
        elif writing.execute(select(_progress.c.source).limit(1)).scalar_one() != moment.text():
            raise CopyError(
                "the source has changed since this copy began, or is another one",
                f"stop the cloud, make {target.name} anew and copy again",
            )


def _copy_table(reading: Connection, target: Database, table: Table, rows: int, progress: Progress) -> None:
    own = _progress.c.table_name == table.name
    with target.engine.connect() as connection:
        done, last = connection.execute(select(_progress.c.rows_done, _progress.c.last_key).where(own)).one()
    progress(table.name, done, rows)
    if done == rows:
        return
    key = [list(table.columns).index(column) for column in table.primary_key.columns]
    after = None if last is None else _key_of_text(last)
    for portion in bulk.portions(bulk.rows_after(reading, table, after)):
        done += len(portion)
        text = _key_text([portion[-1][place] for place in key])
        with target.engine.begin() as writing:
            bulk.write(writing, table, portion)
            writing.execute(update(_progress).where(own).values(rows_done=done, last_key=text))
        progress(table.name, done, rows)


_KINDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "UUID": (lambda value: value.hex, UUID),
    "bytes": (lambda value: value.hex(), bytes.fromhex),
}
"""What JSON has not: kind of value → how it is written, how it is read."""


def _key_text(key: Sequence[Any]) -> str:
    """A key as JSON, each value with its kind."""
    kinds = [type(value).__name__ for value in key]
    return json.dumps([[kind, _KINDS[kind][0](v) if kind in _KINDS else v] for kind, v in zip(kinds, key, strict=True)])


def _key_of_text(text: str) -> list[Any]:
    return [_KINDS[kind][1](value) if kind in _KINDS else value for kind, value in json.loads(text)]


def _verify(reading: Connection, target: Database, moment: _Moment, progress: Progress) -> None:
    """Both have the same rows, each column of them, and come to the same totals. Errors: CopyError."""
    wrong = []
    with target.engine.connect() as copied:
        bulk.hold_snapshot(copied)
        for table in bulk.tables():
            rows = moment.counts[table.name]
            if bulk.fingerprint(reading, table, rows, progress) != bulk.fingerprint(copied, table, rows, progress):
                wrong.append(table.name)
        found = bulk.totals(copied)
    wrong += [f"{name}: {total} became {found[name]}" for name, total in moment.totals.items() if found[name] != total]
    if wrong:
        hint = f"make {target.name} anew and copy again"
        raise CopyError(f"the copy is not like its source: {', '.join(wrong)}", hint)


def _since(source: Database, moment: _Moment) -> dict[str, int]:
    """What the source has taken in since it was read."""
    with source.engine.connect() as reading:
        bulk.hold_snapshot(reading)
        return _Moment.of(reading).since(moment)


def _written_meanwhile(source: Database, target: Database, since: dict[str, int]) -> CopyError:
    came = ", ".join(f"{name} {rows:+,}" for name, rows in since.items())
    return CopyError(
        f"{source.name} was written while it was copied ({came}): the copy is whole, but of a moment ago",
        f"stop the cloud, make {target.name} anew and copy again; or copy with --moment where what came since may be"
        " missing: stations send it again, clients and people do not",
    )
