"""The tables of images' updates: bundles, roll-outs, how far each station has come, and where a station's clock is.

Only definitions; the rules of `schema` hold. Importing `schema` brings them in.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, PrimaryKeyConstraint, Table

from .columns import integer as _integer
from .columns import metadata
from .columns import station_column as _station_id
from .columns import text as _text

bundle = Table(
    "bundle",
    metadata,
    _text("sha256", length=64),
    _integer("size_bytes"),
    _text("version", length=64),
    _integer("number"),
    _text("compatible", length=100),
    Column("verified", Boolean, nullable=False),
    _integer("added_at"),
    _text("added_by", length=200),
    _integer("removed_at", nullable=True),
    PrimaryKeyConstraint("sha256"),
    comment="writer: store.bundles. Images' updates; the file is {sha256}.raucb in the bundles' folder, until removed."
    " verified: by rauc, when it was added",
    sqlite_with_rowid=False,
)

rollout = Table(
    "rollout",
    metadata,
    # Numbered by store.rollouts: a sequence of the server's would not be copied by `db copy`.
    Column("rollout_id", BigInteger, nullable=False, autoincrement=False),
    _text("sha256", length=64),
    _text("group_name", length=64),
    _integer("window_from"),
    _integer("window_to"),
    _text("time_zone", length=64),
    _text("stage", length=16),
    _text("state", length=16),
    _integer("started_at"),
    _text("started_by", length=200),
    _integer("changed_at"),
    _text("changed_by", length=200),
    _text("reason", length=500),
    PrimaryKeyConstraint("rollout_id"),
    comment="writer: store.rollouts. One bundle for the stations of a group ('' for all): stage canaries or all, state"
    " running, stopped, finished; changed_by is 'itself' where a canary stopped it. The window in minutes after"
    " midnight, in the station's time zone, time_zone where none is known",
    sqlite_with_rowid=False,
)

rollout_station = Table(
    "rollout_station",
    metadata,
    _station_id(),
    _integer("rollout_id"),
    _integer("canary"),
    _text("state", length=16),
    _text("version", length=64),
    _integer("number"),
    _text("detail", length=500),
    _integer("at", nullable=True),
    _integer("offered_at", nullable=True),
    _integer("reported_at", nullable=True),
    PrimaryKeyConstraint("station_id", "rollout_id"),
    Index("ix_rollout_station_rollout", "rollout_id", "state"),
    comment="writer: store.rollouts. Who a roll-out is for, and the last result each has told (update_result): state ''"
    " before the first. canary 1, or 0; 0 too where it ended badly and the roll-out was resumed. at as the station"
    " claims",
    sqlite_with_rowid=False,
)

station_zone = Table(
    "station_zone",
    metadata,
    _station_id(),
    _text("time_zone", length=64),
    _integer("set_at"),
    PrimaryKeyConstraint("station_id"),
    comment="writer: store.zones. The time zone that a station stands in, by its name in the IANA database",
    sqlite_with_rowid=False,
)
