"""The tables of what stations and operators tell each other besides telemetry: operations, settings, notices, keys.

Only definitions; the rules of `schema` hold. Importing `schema` brings them in.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, Uuid

from .columns import integer as _integer
from .columns import metadata
from .columns import station_column as _station_id
from .columns import text as _text

change_stream = Table(
    "change_stream",
    metadata,
    _station_id(),
    Column("stream", Uuid, nullable=False),
    _text("change_token", length=200),
    PrimaryKeyConstraint("station_id", "stream"),
    Index("ix_change_stream_token", "station_id", "change_token"),
    comment="writer: store.recording. Streams that a local change opened, while nobody had confirmed it",
    sqlite_with_rowid=False,
)

refused_change = Table(
    "refused_change",
    metadata,
    _station_id(),
    _text("change_token", length=200),
    _text("meter_id", length=200),
    _integer("ul_num"),
    _integer("den"),
    _integer("former_ul_num"),
    _integer("former_den"),
    _integer("refused_at"),
    PrimaryKeyConstraint("station_id", "change_token"),
    comment="writer: store.scale_refusals. Calibrations that were refused; their price is named scale-refused",
    sqlite_with_rowid=False,
)

operation = Table(
    "operation",
    metadata,
    _station_id(),
    _text("idempotency_key", length=36),
    _text("type", length=64),
    _text("fingerprint", length=64),
    _text("state", length=16),
    _text("claim", length=32),
    _integer("claimed_at"),
    _integer("received_at"),
    _text("request_id", length=32),
    _text("trace_id", length=32),
    _text("payload"),
    _integer("status", nullable=True),
    _text("answer", nullable=True),
    PrimaryKeyConstraint("station_id", "idempotency_key"),
    Index("ix_operation_received", "station_id", "received_at"),
    comment="writer: store.operations. What stations told besides telemetry: state working or done, with the body's "
    "fingerprint and the first answer, which any repeat gets again; kept for 90 days",
    sqlite_with_rowid=False,
)

config_document = Table(
    "config_document",
    metadata,
    _text("scope", length=16),
    _text("subject", length=64),
    _integer("version"),
    _text("document"),
    _text("sha256", length=64),
    _integer("set_at"),
    _text("set_by", length=200),
    PrimaryKeyConstraint("scope", "subject", "version"),
    comment="writer: store.config_documents. Every version of every document: scope fleet, group, station, or policy "
    "(what local changes are allowed); subject is the group or station, '' for the fleet",
    sqlite_with_rowid=False,
)

station_config = Table(
    "station_config",
    metadata,
    _station_id(),
    _text("group_name", length=64),
    _integer("version"),
    _text("sha256", length=64),
    _text("document"),
    _text("set_by", length=200),
    _integer("set_at"),
    _integer("sent_at", nullable=True),
    _integer("fetched_version", nullable=True),
    _integer("fetched_at", nullable=True),
    _integer("reported_version", nullable=True),
    _text("reported_sha256", nullable=True, length=64),
    _text("result", nullable=True, length=16),
    _text("reasons", nullable=True),
    _integer("reported_at", nullable=True),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.config_documents. What counts for each station, merged from fleet, group and station, and "
    "how far it has come: sent (announced), fetched, and what the station said of it",
    sqlite_with_rowid=False,
)

notice = Table(
    "notice",
    metadata,
    _station_id(),
    _integer("number"),
    _text("text"),
    _text("scope", length=80),
    _integer("sent_at"),
    _integer("fetched_at", nullable=True),
    _integer("received_at", nullable=True),
    PrimaryKeyConstraint("station_id", "number"),
    comment="writer: store.notices. What an operator said to whoever stands before the station; number grows by 1 each",
    sqlite_with_rowid=False,
)

key_rotation = Table(
    "key_rotation",
    metadata,
    _station_id(),
    _text("key_id", length=64),
    _text("nonce", length=64),
    _text("base_key_id", nullable=True, length=64),
    _text("station_nonce", nullable=True, length=64),
    _integer("offered_at"),
    _integer("answered_at", nullable=True),
    _integer("confirmed_at", nullable=True),
    PrimaryKeyConstraint("station_id", "key_id"),
    comment="writer: store.rotation. Offered: announced until the new key's first use confirms it. The first nonce of "
    "the station's counts for ever, whatever is repeated",
    sqlite_with_rowid=False,
)
