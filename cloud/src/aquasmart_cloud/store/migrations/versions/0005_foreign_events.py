"""Foreign events: clients, what they send, what cannot be read yet, identities that are kept for ever."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the tables of store.schema_foreign."""
    op.create_table(
        "client",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("date_order", sa.String(length=3), nullable=False),
        sa.Column("decimal_mark", sa.String(length=1), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("most_events", sa.BigInteger(), nullable=False),
        sa.Column("most_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "failed_event",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("failed_seq", sa.BigInteger(), nullable=False),
        sa.Column("raw_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("edited", sa.Text(), nullable=True),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("normaliser", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("event_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("client_id", "failed_seq", name=op.f("pk_failed_event")),
    )
    op.create_index("ix_failed_event_raw", "failed_event", ["client_id", "raw_hash"], unique=True)
    op.create_index("ix_failed_event_state", "failed_event", ["client_id", "state", "failed_seq"], unique=False)
    op.create_table(
        "foreign_event",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("metric", sa.String(length=600), nullable=False),
        sa.Column("station", sa.String(length=200), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.String(length=40), nullable=False),
        sa.Column("normalised", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("normaliser", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "event_seq", name=op.f("pk_foreign_event")),
    )
    op.create_index("ix_foreign_event_at", "foreign_event", ["client_id", "at", "event_seq"], unique=False)
    op.create_table(
        "foreign_rollup",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("grain", sa.String(length=8), nullable=False),
        sa.Column("bucket_at", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.String(length=600), nullable=False),
        sa.Column("station", sa.String(length=200), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("amount_sum", sa.String(length=60), nullable=False),
        sa.Column("amount_min", sa.String(length=40), nullable=False),
        sa.Column("amount_max", sa.String(length=40), nullable=False),
        sa.Column("sketch", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "grain", "bucket_at", "metric", "station", name=op.f("pk_foreign_rollup")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "intake",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("last_failed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_intake")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "row_identity",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("identity", sa.LargeBinary(length=32), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "identity", name=op.f("pk_row_identity")),
        sqlite_with_rowid=False,
    )
