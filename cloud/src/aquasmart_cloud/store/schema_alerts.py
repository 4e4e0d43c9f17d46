"""The tables of alerts and of telling them: what is open, what is remembered to decide it, receivers, the outbox.

Definitions only; the rules of `schema` hold. `station_id` is a station, a sender of foreign events (`c_…`), or
`_cloud` for the cloud itself. Importing `schema` brings them in.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, PrimaryKeyConstraint, Table
from sqlalchemy import text as sql

from .columns import integer as _integer
from .columns import metadata
from .columns import station_column as _station_id
from .columns import text as _text

alert = Table(
    "alert",
    metadata,
    _station_id(),
    _integer("alert_id"),
    _text("kind", length=32),
    _text("subject", length=400),
    _text("state", length=16),
    _integer("since_at"),
    _integer("opened_at"),
    _integer("seen_at"),
    _text("figures"),
    _integer("acknowledged_at", nullable=True),
    _text("acknowledged_by", nullable=True, length=200),
    _integer("closed_at", nullable=True),
    _text("closed_by", nullable=True, length=200),
    _text("note", nullable=True),
    PrimaryKeyConstraint("station_id", "alert_id"),
    Index(
        "ix_alert_open",
        "station_id",
        "kind",
        "subject",
        unique=True,
        sqlite_where=sql("state <> 'closed'"),
        postgresql_where=sql("state <> 'closed'"),
    ),
    Index("ix_alert_opened", "opened_at", "station_id", "alert_id"),
    comment="writer: store.alerts. What is or was wrong: state open, acknowledged, closed; at most one of a kind and "
    "subject is not closed. figures is JSON; alert_id grows by 1 per owner",
    sqlite_with_rowid=False,
)

alert_watch = Table(
    "alert_watch",
    metadata,
    _station_id(),
    _text("what", length=16),
    _text("state", length=16),
    _integer("seen_at"),
    _integer("events"),
    _integer("log_id"),
    _integer("due_at"),
    _integer("turn"),
    _text("memory"),
    PrimaryKeyConstraint("station_id", "what"),
    comment="writer: store.alert_watch. How far each owner has been looked at, as a station, a sender or the cloud"
    " (a station's state, last_seen_at, events; the last log_id or failed_seq), when to look again by time alone, and"
    " the memory of core.alerting (JSON). turn grows by 1 with each write: who read an older one writes nothing",
    sqlite_with_rowid=False,
)

alert_setting = Table(
    "alert_setting",
    metadata,
    _text("scope", length=16),
    _text("subject", length=64),
    _text("name", length=64),
    _integer("value"),
    _integer("set_at"),
    PrimaryKeyConstraint("scope", "subject", "name"),
    comment="writer: store.alert_settings. Thresholds of alerts: scope fleet, group or station; subject is the group "
    "or station, '' for the fleet; name is KIND.after_s, KIND.clear_s or KIND.enabled",
    sqlite_with_rowid=False,
)

webhook = Table(
    "webhook",
    metadata,
    _text("webhook_id", length=32),
    _text("url", length=2000),
    Column("sealed", LargeBinary, nullable=False),
    _text("kinds"),
    Column("enabled", Boolean, nullable=False),
    _integer("created_at"),
    PrimaryKeyConstraint("webhook_id"),
    comment="writer: store.webhooks. Who is told, by HTTP: the secret is sealed under the master key; kinds is a JSON "
    "list, empty for all",
    sqlite_with_rowid=False,
)

outbox = Table(
    "outbox",
    metadata,
    _text("delivery_id", length=36),
    _text("target", length=400),
    _text("kind", length=32),
    _text("body"),
    _text("state", length=16),
    _integer("created_at"),
    _integer("due_at"),
    _integer("attempts"),
    _integer("status", nullable=True),
    _text("said", nullable=True, length=400),
    _integer("ended_at", nullable=True),
    PrimaryKeyConstraint("delivery_id"),
    Index("ix_outbox_due", "due_at", sqlite_where=sql("state = 'waiting'"), postgresql_where=sql("state = 'waiting'")),
    Index("ix_outbox_created", "created_at", "delivery_id"),
    comment="writer: store.outbox. What is to be told to whom, written in the transaction of what it tells: state "
    "waiting, delivered, failed. target is a webhook_id or mailto:ADDRESS; said is how the last attempt ended",
    sqlite_with_rowid=False,
)
