"""The cloud's tables, in SQLAlchemy Core.

Only definitions live here: no query, no connection, no behaviour. Each table's comment names its one writer.
Every growing table's keys begin with `station_id` (foreign events: `client_id`), so that the same schema can be
distributed by it (`docs/decisions`). All `_at` are Unix milliseconds UTC; volumes are integer microlitres (`_ul`);
counts are integer positions of a meter's totaliser. Identities are (station, stream, seq) and never random per event:
random keys were measured 16 times slower. What is in migrations/ must add up to exactly this; on PostgreSQL the keys of
the two tables that are partitioned by time end with that time (store.partitions).
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Uuid,
)

from . import schema_alerts, schema_foreign, schema_remote, schema_rollouts, schema_worker
from .columns import integer as _integer
from .columns import metadata
from .columns import station_column as _station_id
from .columns import text as _text

__all__ = ["metadata", "schema_alerts", "schema_foreign", "schema_remote", "schema_rollouts", "schema_worker"]

station = Table(
    "station",
    metadata,
    _station_id(),
    _text("name", length=200),
    _text("state", length=16),
    _integer("created_at"),
    _integer("last_seen_at", nullable=True),
    _text("hardware_id", nullable=True, length=200),
    _text("hardware_seen"),
    _integer("events"),
    _integer("volume_ul"),
    _integer("disputed_ul"),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.stations makes rows and their state (active, retired); store.recording adds to the"
    " totals. volume_ul includes disputed_ul; hardware_seen is a JSON list in order of first sight",
    sqlite_with_rowid=False,
)

station_key = Table(
    "station_key",
    metadata,
    _station_id(),
    _text("key_id", length=64),
    Column("sealed", LargeBinary, nullable=False),
    _integer("created_at"),
    _integer("revoked_at", nullable=True),
    PrimaryKeyConstraint("station_id", "key_id"),
    ForeignKeyConstraint(["station_id"], ["station.station_id"]),
    comment="writer: store.stations. Sealed under the master key; never deleted, since audits verify old bodies",
    sqlite_with_rowid=False,
)

epoch = Table(
    "epoch",
    metadata,
    _station_id(),
    _text("meter_id", length=200),
    Column("epoch", Uuid, nullable=False),
    _text("identity", nullable=True, length=200),
    Column("identity_strong", Boolean, nullable=False),
    _integer("modulus", nullable=True),
    _integer("epoch_from"),
    Column("root_epoch", Uuid, nullable=False),
    _integer("shift_counts"),
    _integer("counts_through"),
    _integer("opened_at"),
    PrimaryKeyConstraint("station_id", "meter_id", "epoch"),
    comment="writer: store.recording. An alias has root_epoch <> epoch; its position p is p + shift_counts in"
    " the root. Of a root, [epoch_from, counts_through) is the extent whose uncovered parts are open "
    "holes",
    sqlite_with_rowid=False,
)

stream = Table(
    "stream",
    metadata,
    _station_id(),
    Column("stream", Uuid, nullable=False),
    _text("meter_id", nullable=True, length=200),
    Column("epoch", Uuid, nullable=True),
    _text("header"),
    _integer("ul_num", nullable=True),
    _integer("den", nullable=True),
    _integer("opening_counts"),
    _integer("mark_seq"),
    _integer("mark_counts"),
    _text("hardware_id", length=200),
    _text("software", length=200),
    _text("clock", length=16),
    _integer("first_at"),
    _integer("last_at"),
    PrimaryKeyConstraint("station_id", "stream"),
    comment="writer: store.recording. The high-water mark; outlives every event, so a replay never counts "
    "again. Meterless streams have no meter_id, epoch and scale. first_at and last_at as believed",
    sqlite_with_rowid=False,
)

ledger_interval = Table(
    "ledger_interval",
    metadata,
    _station_id(),
    _text("meter_id", length=200),
    Column("epoch", Uuid, nullable=False),
    _integer("from_counts"),
    _integer("to_counts"),
    _integer("ul_num"),
    _integer("den"),
    _integer("shift_counts"),
    _text("kind", length=16),
    Column("stream", Uuid, nullable=False),
    _integer("bucket_at", nullable=True),
    PrimaryKeyConstraint("station_id", "meter_id", "epoch", "from_counts"),
    comment="writer: store.recording. Disjoint [from_counts, to_counts) in the root epoch, priced for ever by"
    " the scale that first booked them, at own positions root - shift_counts. bucket_at: the minute "
    "of catch_up, gap, disputed",
    sqlite_with_rowid=False,
)

batch = Table(
    "batch",
    metadata,
    _station_id(),
    Column("stream", Uuid, nullable=False),
    _integer("from_seq"),
    _integer("through_seq"),
    _integer("counts_from"),
    _integer("counts_through"),
    _integer("at_from"),
    _integer("at_to"),
    _integer("believed_shift_ms"),
    _integer("rows"),
    _integer("received_at"),
    _text("key_id", length=64),
    _integer("timestamp_ms"),
    _text("target"),
    _text("encoding", length=8),
    _text("idempotency_key", nullable=True),
    _text("if_match", nullable=True),
    Column("signature", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("station_id", "stream", "from_seq"),
    Index("ix_batch_station_time", "station_id", "at_from"),
    postgresql_partition_by="RANGE (received_at)",
    comment="writer: store.recording. Event store and audit trail: the body as received with all its "
    "signature covers. Rows below from_seq were known before; at_from and at_to as believed = claimed"
    " + believed_shift_ms",
)

notable = Table(
    "notable",
    metadata,
    _station_id(),
    Column("stream", Uuid, nullable=False),
    _integer("seq"),
    _text("meter_id", nullable=True, length=200),
    _integer("at"),
    _text("kind", length=200),
    _integer("flags"),
    _text("data", nullable=True),
    PrimaryKeyConstraint("station_id", "stream", "seq"),
    Index("ix_notable_station_at", "station_id", "at"),
    postgresql_partition_by="RANGE (at)",
    comment="writer: store.recording; store.resending puts a dead letter's own words in its gap's place. Rows "
    "that are not plain volume (nor idle heartbeats, nor merged), for people to see",
)

rollup = Table(
    "rollup",
    metadata,
    _station_id(),
    _text("meter_id", length=200),
    Column("grain", String(8), nullable=False),
    _integer("bucket_at"),
    _integer("volume_ul"),
    _integer("disputed_ul"),
    _integer("events"),
    PrimaryKeyConstraint("station_id", "meter_id", "grain", "bucket_at"),
    comment="writer: store.recording. grain is minute, hour or day (UTC). Adds exactly the newly covered "
    "measure; volume_ul includes disputed_ul. Meterless events count under meter_id ''",
    sqlite_with_rowid=False,
)

ledger_entry = Table(
    "ledger_entry",
    metadata,
    _station_id(),
    _integer("entry_id"),
    _text("meter_id", nullable=True, length=200),
    Column("epoch", Uuid, nullable=True),
    _text("kind", length=32),
    _text("subject", length=200),
    _integer("from_counts"),
    _integer("to_counts"),
    _integer("volume_ul"),
    _text("detail"),
    _integer("opened_at"),
    _text("state", length=16),
    _integer("closed_at", nullable=True),
    _text("closed_by", nullable=True, length=200),
    _text("note", nullable=True),
    PrimaryKeyConstraint("station_id", "entry_id"),
    Index("ix_ledger_entry_open", "station_id", "state", "kind", "subject"),
    comment="writer: store.entries. Named differences; state open, explained, closed. subject: what it is "
    "about, one open entry each. Positions in the root epoch; detail is JSON",
)

heartbeat = Table(
    "heartbeat",
    metadata,
    _station_id(),
    _integer("received_at"),
    _text("document"),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.heartbeats. The last heartbeat's payload, as sent",
)

retained = Table(
    "retained",
    metadata,
    _station_id(),
    _integer("received_at"),
    _text("digest", length=64),
    _text("document"),
    Column("behind", Boolean, nullable=False),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.heartbeats. The last whole list of what the station still holds, [[stream, through]],"
    " with the digest it gave of its closed streams; behind: our marks have not all reached it",
)

policy = Table(
    "policy",
    metadata,
    _text("name", length=32),
    _text("value", length=200),
    _integer("set_at"),
    PrimaryKeyConstraint("name"),
    comment="writer: store.policy. What operators demand of every station: minimum-version, rate-limit",
)

processing_log = Table(
    "processing_log",
    metadata,
    _station_id(),
    _integer("log_id"),
    _integer("at"),
    _text("request_id", length=32),
    _text("trace_id", length=32),
    _text("action", length=32),
    _text("detail"),
    PrimaryKeyConstraint("station_id", "log_id"),
    comment="writer: store.recording, for foreign senders store.intake_log. Audit trail: what each accepted request"
    " did, with its changes to the rollups (core.changes); log_id grows by 1 per station or sender",
    sqlite_with_rowid=False,
)

sign_in_link = Table(
    "sign_in_link",
    metadata,
    _text("digest", length=64),
    _integer("expires_at"),
    _integer("used_at", nullable=True),
    PrimaryKeyConstraint("digest"),
    comment="writer: store.sign_in. One-time sign-in links, by the SHA-256 of their token (hex)",
    sqlite_with_rowid=False,
)

GRAIN_WIDTHS_MS: dict[str, int] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
"""Width of each rollup grain in milliseconds; `bucket_at` is a multiple of it."""
