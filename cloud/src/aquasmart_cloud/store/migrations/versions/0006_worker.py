"""What runs on a clock: the worker's lease, its jobs' records, retries, figures of the whole fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the tables of store.schema_worker; failures that were waiting for another reading begin their retries."""
    _lease_and_records()
    _retries()
    _fleet()


def _lease_and_records() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_run",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("failed_runs", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.String(length=500), nullable=False),
        sa.Column("said_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("error_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_run")),
        sqlite_with_rowid=False,
    )


def _retries() -> None:
    op.create_table(
        "failed_retry",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("failed_seq", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "failed_seq", name=op.f("pk_failed_retry")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_failed_retry_at", "failed_retry", ["client_id", "retry_at"], unique=False)
    op.create_table(
        "normaliser_pass",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_normaliser_pass")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO failed_retry (client_id, failed_seq, attempts, retry_at) SELECT client_id, failed_seq, 0, 0"
        " FROM failed_event WHERE state = 'open' AND code = 'not-normalised'"
    )


def _fleet() -> None:
    op.create_table(
        "fleet_rollup",
        sa.Column("grain", sa.String(length=8), nullable=False),
        sa.Column("bucket_at", sa.BigInteger(), nullable=False),
        sa.Column("volume_ul", sa.BigInteger(), nullable=False),
        sa.Column("disputed_ul", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grain", "bucket_at", name=op.f("pk_fleet_rollup")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fleet_mark",
        sa.Column("station_id", sa.String(length=64), nullable=False),
        sa.Column("log_id", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("at_meter", sa.String(length=200), nullable=False),
        sa.Column("at_grain", sa.String(length=8), nullable=False),
        sa.Column("at_bucket", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_id", name=op.f("pk_fleet_mark")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fleet_fill",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fleet_fill")),
        sqlite_with_rowid=False,
    )
