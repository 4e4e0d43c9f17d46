"""Making a PostgreSQL with the Citus extension a distributed one: which table is spread by what, and doing it.

Every growing table's key begins with the station or the sender, so all of a transaction's rows are on one node
(docs/decisions/0028, 0033): they are spread by that column and kept together. The few small tables are on every node.
Nothing else of the store knows of it.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import AddConstraint, DropConstraint

from aquasmart_cloud.core.errors import DatabaseError

from . import migrating, schema
from .bulk import tables
from .database import Database

OWNERS = ("station_id", "client_id")
"""What tables are spread by: a station, or a sender of foreign events. One space of ids (docs/decisions/0033)."""

_AVAILABLE = text("SELECT count(*) FROM pg_available_extensions WHERE name = 'citus'")
_SPREAD = text("SELECT CAST(logicalrelid AS text) FROM pg_dist_partition")


class Plan(NamedTuple):
    """Table → the column it is spread by, the first of them first; tables that every node has."""

    spread: dict[str, str]
    everywhere: tuple[str, ...]


def plan() -> Plan:
    """Of every table of the schema. Errors: AssertionError for a table that has no key to begin with."""
    spread, everywhere = {schema.station.name: "station_id"}, []
    for table in tables():
        first = _first_of_key(table)
        if first in OWNERS:
            spread.setdefault(table.name, first)
        else:
            everywhere.append(table.name)
    return Plan(spread, tuple(everywhere))


def _first_of_key(table: Table) -> str:
    columns = list(table.primary_key.columns)
    if not columns:
        raise AssertionError(f"{table.name} has no key")
    return columns[0].name


def distribute(database: Database) -> list[str]:
    """Spread what is not spread yet, with its rows, in one transaction; the names of those tables.

    Harmless when repeated, say after an upgrade brought new tables. The cloud must not run meanwhile: a table that is
    being spread is locked. Errors: DatabaseError where there is no Citus, or nothing to begin with.
    """
    if database.kind != "postgresql":
        raise DatabaseError(f"{database.name} cannot be distributed", "'aquasmart-cloud db copy' moves to PostgreSQL")
    if migrating.current_revision(database) != migrating.newest_revision():
        raise DatabaseError(f"{database.name} is not at this version's schema", "run 'aquasmart-cloud db upgrade'")
    try:
        with database.engine.begin() as connection:
            if not connection.execute(_AVAILABLE).scalar_one():
                raise DatabaseError(
                    f"{database.name} has no Citus extension", "install Citus on every node, and preload it"
                )
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citus")
            return _distribute(connection)
    except SQLAlchemyError as fault:
        raise DatabaseError(f"nothing was distributed: {fault}") from fault


def _distribute(connection: Connection) -> list[str]:
    done = set(connection.execute(_SPREAD).scalars())
    wanted = plan()
    missing = [name for name in (*wanted.everywhere, *wanted.spread) if name not in done]
    foreign_keys = [key for table in tables() if table.name in missing for key in table.foreign_key_constraints]
    # A key between a table that is spread and one that is not yet is refused: they come back when both are.
    for key in foreign_keys:
        connection.execute(DropConstraint(key))
    for name in missing:
        if name in wanted.everywhere:
            connection.execute(text("SELECT create_reference_table(:name)"), {"name": name})
            continue
        beside = "none" if name == schema.station.name else schema.station.name
        connection.execute(
            text("SELECT create_distributed_table(:name, :by, colocate_with => :beside)"),
            {"name": name, "by": wanted.spread[name], "beside": beside},
        )
    for key in foreign_keys:
        connection.execute(AddConstraint(key))
    return missing
