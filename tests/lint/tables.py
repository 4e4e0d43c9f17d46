"""Tables: one named writer each, and keys that let the schema be distributed by station."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sqlalchemy import Index, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint

from .tree import Finding, SourceFile

SCHEMA = "cloud/src/aquasmart_cloud/store/schema.py"

NOT_BY_STATION: Mapping[str, str] = {
    "policy": "demands of the whole fleet; one row for each",
    "config_document": "of the fleet or a group as much as of a station; a few rows by hand, copied to every node",
    "alert_setting": "of the fleet or a group as much as of a station; a few rows by hand, copied to every node",
    "webhook": "belongs to a receiver; a handful of rows by hand",
    "bundle": "belongs to no station; a handful of rows by hand, copied to every node",
    "rollout": "of a group's stations; a row for each, by hand, copied to every node",
    "outbox": "a queue by receiver, emptied within minutes and forgotten after a month; its keys are drawn",
    "lease": "belongs to the one process that works; one row",
    "job_run": "one row for each job of the worker",
    "fleet_rollup": "of the whole fleet: a row for each minute, hour and day, however many stations; on one node",
    "fleet_fill": "of the whole fleet; one row",
    "sign_in_link": "belongs to a person, not a station; a handful of rows that expire within minutes",
}
"""Tables whose keys may lack an owner, each with the reason."""

OWNERS = frozenset({"station_id", "client_id"})
"""What a schema can be distributed by: the station, or the sender of foreign events."""

_CREATE_TABLE = re.compile(r"^\s*CREATE\s+(?:TEMP\w*\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE)


def writers_in_sql(file: SourceFile) -> Iterator[Finding]:
    """In each `.sql` file, the paragraph that creates a table says before it who writes it."""
    if not file.path.endswith(".sql"):
        return
    written_by = False
    for number, line in enumerate(file.text.splitlines(), 1):
        if not line.strip():
            written_by = False
        elif re.match(r"\s*--\s*written by:\s*\S", line):
            written_by = True
        match = _CREATE_TABLE.match(line)
        if match and not written_by:
            yield file.finding(
                number, "table-writer", f"table {match[1]} needs `-- written by: …` above it: it has one writer"
            )


def writers_in_schema(metadata: MetaData) -> Iterator[Finding]:
    """Each table of the cloud's schema names its writer at the start of its comment."""
    for table in metadata.sorted_tables:
        if not re.match(r"writer: \S", table.comment or ""):
            yield _at(table, "table-writer", "its comment must begin with `writer: …`: a table has one writer")


def keyed_by_station(metadata: MetaData, exempt: Mapping[str, str] = NOT_BY_STATION) -> Iterator[Finding]:
    """Every unique key contains station_id (or client_id): a distributed PostgreSQL can enforce no other."""
    for table in metadata.sorted_tables:
        if table.name in exempt:
            continue
        for what, columns in _unique_keys(table):
            if not OWNERS.intersection(columns):
                yield _at(table, "station-key", f"{what} ({', '.join(columns) or 'none'}) lacks station_id")
    for name in sorted(exempt.keys() - metadata.tables.keys()):
        yield Finding(SCHEMA, 1, "station-key", f"the exemption of {name!r} is stale: there is no such table")


def _unique_keys(table: Table) -> Iterator[tuple[str, list[str]]]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint):
            yield "its primary key", [column.name for column in constraint.columns]
        elif isinstance(constraint, UniqueConstraint):
            yield "a unique constraint", [column.name for column in constraint.columns]
    for index in table.indexes:
        if isinstance(index, Index) and index.unique:
            yield f"unique index {index.name}", [column.name for column in index.columns]


def _at(table: Table, rule: str, message: str) -> Finding:
    return Finding(SCHEMA, 1, rule, f"table {table.name}: {message}")
