"""The tables of foreign events: clients, what they sent, what could not be read, and what is known for ever.

Definitions only, part of store.schema's metadata and under its rules. Keys begin with `client_id`, which is the
sender: a client's id (`c_…`) or the id of a station that signs; the underscore keeps the two apart.
Amounts are decimal texts: exact, and longer than 64 bits allow.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, String, Table

from .columns import integer as _integer
from .columns import metadata
from .columns import text as _text


def _client_id() -> Column[str]:
    return Column("client_id", String(64), nullable=False)


client = Table(
    "client",
    metadata,
    _client_id(),
    _text("name", length=200),
    Column("token_hash", LargeBinary(32), nullable=False),
    _text("state", length=16),
    _text("date_order", length=3),
    _text("decimal_mark", length=1),
    _text("mapping"),
    _integer("most_events"),
    _integer("most_bytes"),
    _integer("created_at"),
    _text("rate_limit", length=20, nullable=True),
    PrimaryKeyConstraint("client_id"),
    comment="writer: store.clients. Who may send foreign events, by the SHA-256 of a token, and how they write"
    " them: mapping is JSON {fields, defaults}; most_* limit one request, rate_limit how many",
    sqlite_with_rowid=False,
)
intake = Table(
    "intake",
    metadata,
    _client_id(),
    _integer("last_event"),
    _integer("last_failed"),
    PrimaryKeyConstraint("client_id"),
    comment="writer: store.intake. Last numbers given to a sender's events and failures; locked first by every"
    " transaction of that sender",
    sqlite_with_rowid=False,
)
foreign_event = Table(
    "foreign_event",
    metadata,
    _client_id(),
    _integer("event_seq"),
    _text("event_id", length=200),
    _text("metric", length=600),
    _text("station", length=200, nullable=True),
    _integer("at"),
    _text("amount", length=40),
    _text("normalised"),
    _text("warnings"),
    _integer("normaliser"),
    _text("raw"),
    _integer("received_at"),
    PrimaryKeyConstraint("client_id", "event_seq"),
    Index("ix_foreign_event_at", "client_id", "at", "event_seq"),
    comment="writer: store.intake. Processed foreign events, normalised and as they came (canonical JSON);"
    " metric is case-folded",
)
row_identity = Table(
    "row_identity",
    metadata,
    _client_id(),
    Column("identity", LargeBinary(32), nullable=False),
    _integer("event_seq"),
    PrimaryKeyConstraint("client_id", "identity"),
    comment="writer: store.identities. By what an event is known again (core.identity), several for each;"
    " never deleted, so a repetition counts nothing even after its event is gone",
    sqlite_with_rowid=False,
)
failed_event = Table(
    "failed_event",
    metadata,
    _client_id(),
    _integer("failed_seq"),
    Column("raw_hash", LargeBinary(32), nullable=False),
    _text("raw"),
    _text("edited", nullable=True),
    _text("code", length=16),
    _text("errors"),
    _text("warnings"),
    _integer("normaliser"),
    _text("state", length=16),
    _integer("received_at"),
    _integer("closed_at", nullable=True),
    _text("closed_by", length=200, nullable=True),
    _text("reason", nullable=True),
    _integer("event_seq", nullable=True),
    PrimaryKeyConstraint("client_id", "failed_seq"),
    Index("ix_failed_event_raw", "client_id", "raw_hash", unique=True),
    Index("ix_failed_event_state", "client_id", "state", "failed_seq"),
    comment="writer: store.failures. Foreign events that could not be processed; state open, processed,"
    " dismissed. errors and warnings are JSON; event_seq is what it became",
)
foreign_rollup = Table(
    "foreign_rollup",
    metadata,
    _client_id(),
    _text("grain", length=8),
    _integer("bucket_at"),
    _text("metric", length=600),
    _text("station", length=200),
    _integer("events"),
    _text("amount_sum", length=60),
    _text("amount_min", length=40),
    _text("amount_max", length=40),
    _text("sketch"),
    PrimaryKeyConstraint("client_id", "grain", "bucket_at", "metric", "station"),
    comment="writer: store.foreign_rollups. Processed foreign events by minute, hour and day (UTC); station ''"
    " for none; sketch is core.sketch",
    sqlite_with_rowid=False,
)
