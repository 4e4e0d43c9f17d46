"""Alembic's entry: runs the migrations on the connection that store.migrating passes in."""

from __future__ import annotations

from alembic import context

from aquasmart_cloud.store import schema

context.configure(connection=context.config.attributes["connection"], target_metadata=schema.station.metadata)
with context.begin_transaction():
    context.run_migrations()
