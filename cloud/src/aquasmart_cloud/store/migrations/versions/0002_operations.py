"""Operations, remote configuration, notices, key rotation, and what a refused calibration leaves behind.

A released migration never changes; a later one adds to it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the tables of what stations and operators tell each other besides telemetry."""
    op.create_table(
        "change_stream",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.Uuid(), nullable=False),
        sa.Column("change_token", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "stream", name=op.f("pk_change_stream")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_change_stream_token", "change_stream", ["station_id", "change_token"], unique=False)
    op.create_table(
        "refused_change",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("change_token", sa.String(length=200), nullable=False),
        sa.Column("meter_id", sa.String(length=200), nullable=False),
        sa.Column("ul_num", sa.BigInteger(), nullable=False),
        sa.Column("den", sa.BigInteger(), nullable=False),
        sa.Column("former_ul_num", sa.BigInteger(), nullable=False),
        sa.Column("former_den", sa.BigInteger(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", "change_token", name=op.f("pk_refused_change")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "operation",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "idempotency_key", name=op.f("pk_operation")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_operation_received", "operation", ["station_id", "received_at"], unique=False)
    op.create_table(
        "config_document",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "version", name=op.f("pk_config_document")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "station_config",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("set_by", sa.String(length=200), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("fetched_version", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.Column("reported_version", sa.BigInteger(), nullable=True),
        sa.Column("reported_sha256", sa.String(length=64), nullable=True),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_station_config")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notice",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "number", name=op.f("pk_notice")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_rotation",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("base_key_id", sa.String(length=64), nullable=True),
        sa.Column("station_nonce", sa.String(length=64), nullable=True),
        sa.Column("offered_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("station_id", "key_id", name=op.f("pk_key_rotation")),
        sqlite_with_rowid=False,
    )
