"""Streams and epochs as the ingest transaction finds them: reading a stream's state, opening new ones.

Part of the ingest transaction: every function takes its connection. What is done with a batch is
`store.recording`; what is booked is `store.booking`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from aquasmart_cloud.core.epochs import Former, alias_shift
from aquasmart_cloud.core.ledger import Interval, newly_uncovered
from aquasmart_cloud.core.model import BASELINE, RESET, Batch, MeterFields, Scale, StreamHeader
from aquasmart_cloud.core.timeline import EARLIEST_MS

from .connection import Connection, Cursor
from .entries import UNKNOWN_BEFORE, Entries, Place

_FIND_STREAM = (
    "SELECT s.meter_id, s.epoch, s.ul_num, s.den, s.opening_counts, s.mark_seq, s.mark_counts, s.hardware_id,"
    " c.change_token, t.hardware_id, e.root_epoch, e.shift_counts, r.epoch_from, r.counts_through, i.from_counts,"
    " i.to_counts, i.ul_num, i.den, i.shift_counts, i.kind, i.stream"
    " FROM stream s JOIN station t ON t.station_id = s.station_id"
    " LEFT JOIN change_stream c ON c.station_id = s.station_id AND c.stream = s.stream"
    " LEFT JOIN epoch e ON e.station_id = s.station_id AND e.meter_id = s.meter_id AND e.epoch = s.epoch"
    " LEFT JOIN epoch r ON r.station_id = s.station_id AND r.meter_id = s.meter_id AND r.epoch = e.root_epoch"
    " LEFT JOIN ledger_interval i ON i.station_id = s.station_id AND i.meter_id = s.meter_id"
    " AND i.epoch = e.root_epoch AND i.from_counts = (SELECT MAX(l.from_counts) FROM ledger_interval l"
    " WHERE l.station_id = s.station_id AND l.meter_id = s.meter_id AND l.epoch = e.root_epoch)"
    " WHERE s.station_id = ? AND s.stream = ?"
)
_INSERT_STREAM = (
    "INSERT INTO stream (station_id, stream, meter_id, epoch, header, ul_num, den, opening_counts, mark_seq,"
    " mark_counts, hardware_id, software, clock, first_at, last_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)"
)
_INSERT_CHANGE = "INSERT INTO change_stream (station_id, stream, change_token) VALUES (?, ?, ?)"
_FIND_EPOCH = (
    "SELECT e.root_epoch, e.shift_counts, r.epoch_from, r.counts_through FROM epoch e"
    " JOIN epoch r ON r.station_id = e.station_id AND r.meter_id = e.meter_id AND r.epoch = e.root_epoch"
    " WHERE e.station_id = ? AND e.meter_id = ? AND e.epoch = ?"
)
_FORMER = (
    "SELECT r.epoch, e.identity, e.identity_strong, r.modulus, r.counts_through FROM epoch e"
    " JOIN epoch r ON r.station_id = e.station_id AND r.meter_id = e.meter_id AND r.epoch = e.root_epoch"
    " WHERE e.station_id = ? AND e.meter_id = ? ORDER BY e.opened_at DESC, e.epoch_from DESC LIMIT 1"
)
_INSERT_EPOCH = (
    "INSERT INTO epoch (station_id, meter_id, epoch, identity, identity_strong, modulus, epoch_from, root_epoch,"
    " shift_counts, counts_through, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SET_EXTENT = "UPDATE epoch SET epoch_from = ?, counts_through = ? WHERE station_id = ? AND meter_id = ? AND epoch = ?"


@dataclass(slots=True)
class Account:
    """The root epoch that a stream books into. Positions here are the root's; `shift_counts` leads to them."""

    meter_id: str
    scale: Scale
    root_epoch: str
    shift_counts: int
    extent_from: int
    extent_through: int
    last: Interval | None = None
    """The root's last interval as it was when the stream was found; None where it has none, or the stream is new."""

    @property
    def place(self) -> Place:
        return Place(self.meter_id, self.root_epoch)


@dataclass(slots=True)
class StreamState:
    """What is known of a stream: its mark, and the account it books into (None for the meterless stream)."""

    opening_counts: int
    mark_seq: int
    mark_counts: int
    hardware_id: str
    account: Account | None
    latest_hardware_id: str | None = None
    """The board of the station's batch before this one; None where it has to be looked up."""
    change_token: str | None = None


def ask_stream(connection: Connection, station_id: str, stream: str) -> Cursor:
    """Ask for a stream's state, for `read_stream`: other questions may join the same round trip."""
    return connection.execute(_FIND_STREAM, (station_id, stream))


def read_stream(asked: Cursor) -> StreamState | None:
    """The stream's state, or None where it is unknown."""
    rows = asked.fetchall()
    if not rows:
        return None
    [row] = rows
    meter_id, _, ul_num, den, opening, mark_seq, mark_counts, hardware_id, token, latest, *rest = row
    root, shift, low, high, *last = rest
    account = None
    if meter_id is not None:
        account = Account(meter_id, Scale(ul_num, den), root, shift, low, high, _interval(*last))
    return StreamState(opening, mark_seq, mark_counts, hardware_id, account, latest, token)


def _interval(
    start: int | None, end: int, ul_num: int, den: int, shift_counts: int, kind: str, stream: str
) -> Interval | None:
    return None if start is None else Interval(start, end, Scale(ul_num, den), shift_counts, kind, stream, None)


def open_stream(
    connection: Connection, station_id: str, batch: Batch, header: StreamHeader, entries: Entries, at: int
) -> StreamState:
    """Store a stream's header, and its epoch where that is new. `at`: believed time of the first row."""
    account = None
    meter = header.meter
    if meter is not None:
        opened_at = at if header.clock == "unset" or not EARLIEST_MS <= header.opened_at <= at else header.opened_at
        account = _find_epoch(connection, station_id, meter)
        if account is None:
            first_kind = next((entry.kind for entry in batch.entries if entry.row == 0), "")
            account = _open_epoch(connection, station_id, meter, first_kind, opened_at, entries)
        reach(connection, station_id, account, header.stream, meter.epoch_from, entries)
        reach(connection, station_id, account, header.stream, meter.opening_counts, entries)
    opening = meter.opening_counts if meter else 0
    connection.execute(
        _INSERT_STREAM,
        (
            station_id,
            header.stream,
            meter.meter_id if meter else None,
            meter.epoch if meter else None,
            msgspec.json.encode(header).decode(),
            meter.scale.ul_num if meter else None,
            meter.scale.den if meter else None,
            opening,
            opening,
            header.hardware_id,
            header.software,
            header.clock,
            at,
            at,
        ),
    )
    token = meter.change_token if meter else None
    if token is not None:
        connection.execute(_INSERT_CHANGE, (station_id, header.stream, token))
    return StreamState(opening, 0, opening, header.hardware_id, account, change_token=token)


def _find_epoch(connection: Connection, station_id: str, meter: MeterFields) -> Account | None:
    row = connection.execute(_FIND_EPOCH, (station_id, meter.meter_id, meter.epoch)).fetchone()
    return None if row is None else Account(meter.meter_id, meter.scale, *row)


def _open_epoch(
    connection: Connection,
    station_id: str,
    meter: MeterFields,
    first_kind: str,
    opened_at: int,
    entries: Entries,
) -> Account:
    """A new epoch: a life of its own, or, for a baseline of the same strong identity, the former one continued."""
    row = connection.execute(_FORMER, (station_id, meter.meter_id)).fetchone()
    root, shift, low, high = meter.epoch, 0, meter.epoch_from, meter.epoch_from
    if row is not None and first_kind not in {RESET, "meter_change"}:
        former = Former(row[0], row[1], bool(row[2]), row[3], row[4])
        found = alias_shift(former, meter) if first_kind == BASELINE else None
        if found is not None:
            root, shift = former.epoch, found
        else:
            detail = {"former_epoch": former.epoch, "former_counts": former.counts_through}
            entries.once(UNKNOWN_BEFORE, meter.epoch, Place(meter.meter_id, meter.epoch), (low, low), 0, detail)
    connection.execute(
        _INSERT_EPOCH,
        (
            station_id,
            meter.meter_id,
            meter.epoch,
            meter.identity,
            meter.identity_strong,
            meter.modulus,
            meter.epoch_from,
            root,
            shift,
            high,
            opened_at,
        ),
    )
    account = _find_epoch(connection, station_id, meter)
    assert account is not None
    return account


def reach(
    connection: Connection, station_id: str, account: Account, stream: str, own_counts: int, entries: Entries
) -> None:
    """Extend the epoch's extent to a position, naming what is skipped a hole: uncovered counts are never silent."""
    counts = own_counts + account.shift_counts
    hole = newly_uncovered((account.extent_from, account.extent_through), counts)
    if hole is None:
        return
    entries.open_hole(account.place, hole, account.scale, account.shift_counts, stream)
    account.extent_from = min(account.extent_from, counts)
    account.extent_through = max(account.extent_through, counts)
    store_extent(connection, station_id, account)


def store_extent(connection: Connection, station_id: str, account: Account) -> None:
    """Keep the extent of the root epoch."""
    connection.execute(
        _SET_EXTENT,
        (account.extent_from, account.extent_through, station_id, account.meter_id, account.root_epoch),
    )
