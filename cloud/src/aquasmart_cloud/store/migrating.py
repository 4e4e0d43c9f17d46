"""Bringing a database to the schema this software needs, by Alembic.

Only running and asking for revisions lives here; the revisions themselves are in migrations/versions.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from aquasmart_cloud.core.errors import DatabaseError

from .database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


@cache
def newest_revision() -> str:
    """The revision that this software needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise AssertionError("the package has no migration")
    return found


def current_revision(database: Database) -> str | None:
    """The database's revision, or None where it has no tables yet. Errors: DatabaseError when unreachable."""
    database.require()
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as fault:
        raise DatabaseError(str(fault)) from fault


def upgrade(database: Database) -> str:
    """Apply every missing migration; returns the revision. Makes SQLite's file, never a PostgreSQL database.

    Harmless when repeated; a migration that fails is rolled back whole (DDL is transactional in both databases).
    Errors: DatabaseError.
    """
    try:
        with database.engine.execution_options(exclusive=True).begin() as connection:
            command.upgrade(_config(connection), "head")
    except SQLAlchemyError as fault:
        raise DatabaseError(f"cannot bring {database.name} up to date: {fault}") from fault
    return newest_revision()
