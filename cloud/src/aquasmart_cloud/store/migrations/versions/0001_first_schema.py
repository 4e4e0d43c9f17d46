"""The first schema: stations and keys, streams and marks, the ledger, batches, rollups, named entries.

A released migration never changes; a later one adds to it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def _time(column: str) -> tuple[str, ...]:
    """PostgreSQL wants the column that a table is partitioned by in its keys (docs/decisions/0029)."""
    return (column,) if op.get_context().dialect.name == "postgresql" else ()


def _default_partition(table: str) -> None:
    """Takes what no month has been made for (store.partitions)."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


def upgrade() -> None:
    """Make every table of store.schema."""
    op.create_table(
        "batch",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.Uuid(), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("through_seq", sa.BigInteger(), nullable=False),
        sa.Column("counts_from", sa.BigInteger(), nullable=False),
        sa.Column("counts_through", sa.BigInteger(), nullable=False),
        sa.Column("at_from", sa.BigInteger(), nullable=False),
        sa.Column("at_to", sa.BigInteger(), nullable=False),
        sa.Column("believed_shift_ms", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("encoding", sa.String(length=8), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("if_match", sa.Text(), nullable=True),
        sa.Column("signature", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "stream", "from_seq", *_time("received_at"), name=op.f("pk_batch")),
        postgresql_partition_by="RANGE (received_at)",
    )
    _default_partition("batch")
    op.create_index("ix_batch_station_time", "batch", ["station_id", "at_from"], unique=False)
    op.create_table(
        "epoch",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("identity", sa.String(length=200), nullable=True),
        sa.Column("identity_strong", sa.Boolean(), nullable=False),
        sa.Column("modulus", sa.BigInteger(), nullable=True),
        sa.Column("epoch_from", sa.BigInteger(), nullable=False),
        sa.Column("root_epoch", sa.Uuid(), nullable=False),
        sa.Column("shift_counts", sa.BigInteger(), nullable=False),
        sa.Column("counts_through", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "meter_id", "epoch", name=op.f("pk_epoch")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "heartbeat",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=True),
        sa.Column("epoch", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("from_counts", sa.BigInteger(), nullable=False),
        sa.Column("to_counts", sa.BigInteger(), nullable=False),
        sa.Column("volume_ul", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.String(length=200), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "entry_id", name=op.f("pk_ledger_entry")),
    )
    op.create_index("ix_ledger_entry_open", "ledger_entry", ["station_id", "state", "kind", "subject"], unique=False)
    op.create_table(
        "ledger_interval",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("from_counts", sa.BigInteger(), nullable=False),
        sa.Column("to_counts", sa.BigInteger(), nullable=False),
        sa.Column("ul_num", sa.BigInteger(), nullable=False),
        sa.Column("den", sa.BigInteger(), nullable=False),
        sa.Column("shift_counts", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("stream", sa.Uuid(), nullable=False),
        sa.Column("bucket_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "meter_id", "epoch", "from_counts", name=op.f("pk_ledger_interval")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notable",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "stream", "seq", *_time("at"), name=op.f("pk_notable")),
        postgresql_partition_by="RANGE (at)",
    )
    _default_partition("notable")
    op.create_index("ix_notable_station_at", "notable", ["station_id", "at"], unique=False)
    op.create_table(
        "processing_log",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("log_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "log_id", name=op.f("pk_processing_log")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=False),
        sa.Column("grain", sa.String(length=8), nullable=False),
        sa.Column("bucket_at", sa.BigInteger(), nullable=False),
        sa.Column("volume_ul", sa.BigInteger(), nullable=False),
        sa.Column("disputed_ul", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "meter_id", "grain", "bucket_at", name=op.f("pk_rollup")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sign_in_link",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_in_link")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "station",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=True),
        sa.Column("hardware_id", sa.String(length=200), nullable=True),
        sa.Column("hardware_seen", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("volume_ul", sa.BigInteger(), nullable=False),
        sa.Column("disputed_ul", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_station")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stream",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.Uuid(), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=True),
        sa.Column("epoch", sa.Uuid(), nullable=True),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("ul_num", sa.BigInteger(), nullable=True),
        sa.Column("den", sa.BigInteger(), nullable=True),
        sa.Column("opening_counts", sa.BigInteger(), nullable=False),
        sa.Column("mark_seq", sa.BigInteger(), nullable=False),
        sa.Column("mark_counts", sa.BigInteger(), nullable=False),
        sa.Column("hardware_id", sa.String(length=200), nullable=False),
        sa.Column("software", sa.String(length=200), nullable=False),
        sa.Column("clock", sa.String(length=16), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "stream", name=op.f("pk_stream")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "station_key",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["station_id"], ["station.station_id"], name=op.f("fk_station_key_station")),
        sa.PrimaryKeyConstraint("station_id", "key_id", name=op.f("pk_station_key")),
        sqlite_with_rowid=False,
    )
