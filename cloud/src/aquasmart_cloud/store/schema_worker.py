"""The tables of what runs on a clock: the worker's lease, its jobs' records, retries, figures of the whole fleet.

Definitions only, part of store.schema's metadata and under its rules. `lease`, `job_run`, `fleet_rollup` and
`fleet_fill` belong to no station: the first, second and last hold a handful of rows, and the figures of the fleet a row
for each minute, hour and day.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, PrimaryKeyConstraint, Table

from .columns import integer as _integer
from .columns import metadata
from .columns import station_column as _station_id
from .columns import text as _text

lease = Table(
    "lease",
    metadata,
    _text("name", length=32),
    _text("holder", length=200),
    _integer("fence"),
    _integer("taken_at"),
    _integer("expires_at"),
    PrimaryKeyConstraint("name"),
    comment="writer: store.leases. Who alone may do something; times by the database's own clock. fence grows at every"
    " takeover, and every transaction done under the lease checks it",
    sqlite_with_rowid=False,
)

job_run = Table(
    "job_run",
    metadata,
    _text("job", length=64),
    _integer("started_at"),
    _integer("duration_ms"),
    _integer("runs"),
    _integer("failed_runs"),
    _integer("failures"),
    _text("said", length=500),
    _integer("said_at", nullable=True),
    _text("error", length=500),
    _integer("error_at", nullable=True),
    _integer("due_at"),
    PrimaryKeyConstraint("job"),
    comment="writer: store.job_runs. What became of each of the worker's jobs: the last run, the last that did"
    " something (said), the last error; failures in a row, 0 where the last run went well",
    sqlite_with_rowid=False,
)

failed_retry = Table(
    "failed_retry",
    metadata,
    _text("client_id", length=64),
    _integer("failed_seq"),
    _integer("attempts"),
    _integer("retry_at"),
    PrimaryKeyConstraint("client_id", "failed_seq"),
    Index("ix_failed_retry_at", "client_id", "retry_at"),
    comment="writer: store.retries. Open failures that our own normaliser could not read, to be tried again by"
    " themselves; the row goes with the failure, or when trying is over until a newer normaliser",
    sqlite_with_rowid=False,
)

normaliser_pass = Table(
    "normaliser_pass",
    metadata,
    _text("client_id", length=64),
    _integer("version"),
    _integer("finished_at"),
    PrimaryKeyConstraint("client_id"),
    comment="writer: store.retries. Up to which version of the normaliser everything of a sender has been read again",
    sqlite_with_rowid=False,
)

fleet_rollup = Table(
    "fleet_rollup",
    metadata,
    _text("grain", length=8),
    _integer("bucket_at"),
    _integer("volume_ul"),
    _integer("disputed_ul"),
    _integer("events"),
    PrimaryKeyConstraint("grain", "bucket_at"),
    comment="writer: store.fleet_rollups. The stations' rollups added up, as far as fleet_mark says",
    sqlite_with_rowid=False,
)

fleet_mark = Table(
    "fleet_mark",
    metadata,
    _station_id(),
    _integer("log_id"),
    _integer("events"),
    Column("complete", Boolean, nullable=False),
    _text("at_meter", length=200),
    _text("at_grain", length=8),
    _integer("at_bucket"),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.fleet_rollups. How much of a station is in fleet_rollup: its processing log up to log_id,"
    " and until it is complete, its rollups up to a place in their key. events: the station's total then",
    sqlite_with_rowid=False,
)

fleet_fill = Table(
    "fleet_fill",
    metadata,
    _text("name", length=16),
    _text("state", length=16),
    _integer("since_at"),
    PrimaryKeyConstraint("name"),
    comment="writer: store.fleet_rollups. One row: whether the fleet's figures are being emptied, filled, or complete",
    sqlite_with_rowid=False,
)
