"""What a station's ledger says: its named differences, the stretches that are booked, and what both add up to.

Read only, a page at a time, so that a ledger of any length is read in constant memory. Volumes are integers in µl,
positions counts in a meter's root epoch, times Unix ms (UTC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from aquasmart_cloud.core.model import Scale

from .connection import Connection
from .database import Database

OPEN, EXPLAINED, CLOSED = "open", "explained", "closed"
STATES = (OPEN, EXPLAINED, CLOSED)
_PAGE = 200

_COLUMNS = (
    "entry_id, meter_id, epoch, kind, state, from_counts, to_counts, volume_ul, opened_at, closed_at, closed_by, note,"
    " detail"
)
_ENTRIES = (
    f"SELECT {_COLUMNS} FROM ledger_entry WHERE station_id = ? AND state IN (?, ?, ?) AND entry_id > ?"  # noqa: S608
    " ORDER BY entry_id LIMIT ?"
)
_ENTRY = f"SELECT {_COLUMNS} FROM ledger_entry WHERE station_id = ? AND entry_id = ?"  # noqa: S608  (constants)
_INTERVALS = (
    "SELECT meter_id, epoch, from_counts, to_counts, kind, ul_num, den, shift_counts, stream FROM ledger_interval"
    " WHERE station_id = ? AND (meter_id, epoch, from_counts) > (?, ?, ?)"
    " ORDER BY meter_id, epoch, from_counts LIMIT ?"
)
_TOTALS = "SELECT events, volume_ul, disputed_ul FROM station WHERE station_id = ?"
_SUMS = (
    "SELECT kind, state, COUNT(*), SUM(volume_ul) FROM ledger_entry WHERE station_id = ?"
    " GROUP BY kind, state ORDER BY kind, state"
)
_WITH_OPEN = (
    "SELECT station_id, kind, COUNT(*), SUM(volume_ul), MIN(opened_at) FROM ledger_entry WHERE state = 'open'"
    " GROUP BY station_id, kind ORDER BY station_id, kind"
)
_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9a-f]{32})\.(.*)", re.DOTALL)
_NO_EPOCH = "0" * 32
"""Below every epoch there is."""


class Entry(NamedTuple):
    """One named difference as stored; `entry_id` numbers those of its station."""

    entry_id: int
    meter_id: str | None
    epoch: str | None
    kind: str
    state: str
    from_counts: int
    to_counts: int
    volume_ul: int
    opened_at: int
    closed_at: int | None
    closed_by: str | None
    note: str | None
    detail: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """For programs."""
        return self._asdict()


class Place(NamedTuple):
    """Where a page of intervals ended."""

    meter_id: str = ""
    epoch: str = _NO_EPOCH
    from_counts: int = -(1 << 62)

    def text(self) -> str:
        """As a cursor, to be handed back unread."""
        return f"{self.from_counts}.{self.epoch}.{self.meter_id}"

    @classmethod
    def of_text(cls, text: str) -> Place | None:
        """A cursor read back; None where it is none."""
        match = _CURSOR.fullmatch(text)
        return None if match is None else cls(match[3], match[2], int(match[1]))


class Interval(NamedTuple):
    """One stretch that is booked: `[from_counts, to_counts)` of the root epoch, priced for ever by its scale."""

    meter_id: str
    epoch: str
    from_counts: int
    to_counts: int
    kind: str
    ul_num: int
    den: int
    volume_ul: int
    stream: str

    @property
    def place(self) -> Place:
        """Where a page that ends with it ends."""
        return Place(self.meter_id, UUID(self.epoch).hex, self.from_counts)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return self._asdict()


class Sum(NamedTuple):
    """All entries of one kind and state."""

    kind: str
    state: str
    number: int
    volume_ul: int


class Balance(NamedTuple):
    """What a station's ledger adds up to. `volume_ul` includes `disputed_ul`; differences are in neither."""

    events: int
    volume_ul: int
    disputed_ul: int
    differences: tuple[Sum, ...]

    def document(self) -> dict[str, Any]:
        """For programs."""
        return self._asdict() | {"differences": [each._asdict() for each in self.differences]}


class Open(NamedTuple):
    """What is open at one station, of one kind."""

    station_id: str
    kind: str
    number: int
    volume_ul: int
    since_at: int


def read_balance(database: Database, station_id: str) -> Balance | None:
    """None for a station that this cloud does not know. Errors: DatabaseError."""
    with database.reading() as connection:
        totals = connection.execute(_TOTALS, (station_id,)).fetchone()
        if totals is None:
            return None
        sums = [(*row[:3], int(row[3])) for row in connection.execute(_SUMS, (station_id,)).fetchall()]
    return Balance._make((*totals, tuple(Sum._make(row) for row in sums)))


def read_entries(
    database: Database, station_id: str, states: tuple[str, ...], after: int = 0, limit: int = _PAGE
) -> list[Entry]:
    """A page of differences in those states, in the order they were named. Errors: DatabaseError."""
    three = (*states, states[-1], states[-1])[:3]
    with database.reading() as connection:
        return [_entry(row) for row in connection.execute(_ENTRIES, (station_id, *three, after, limit)).fetchall()]


def read_intervals(
    database: Database, station_id: str, after: Place | None = None, limit: int = _PAGE
) -> list[Interval]:
    """A page of what is booked, by meter, epoch and position. Errors: DatabaseError."""
    with database.reading() as connection:
        found = connection.execute(_INTERVALS, (station_id, *(after or Place()), limit)).fetchall()
    return [_interval(*row) for row in found]


def each_entry(database: Database, station_id: str, states: tuple[str, ...]) -> Iterator[Entry]:
    """All of them, a page at a time."""
    after = 0
    while page := read_entries(database, station_id, states, after):
        yield from page
        after = page[-1].entry_id


def each_interval(database: Database, station_id: str) -> Iterator[Interval]:
    """All of them, a page at a time."""
    after = None
    while page := read_intervals(database, station_id, after):
        yield from page
        after = page[-1].place


def load_entry(connection: Connection, station_id: str, entry_id: int) -> Entry | None:
    """One difference."""
    row = connection.execute(_ENTRY, (station_id, entry_id)).fetchone()
    return None if row is None else _entry(row)


def read_open(database: Database) -> list[Open]:
    """What is open in the whole fleet, by station and kind. Errors: DatabaseError."""
    with database.reading() as connection:
        return [
            Open(station_id, kind, number, int(volume_ul), since_at)
            for station_id, kind, number, volume_ul, since_at in connection.execute(_WITH_OPEN, ()).fetchall()
        ]


def _entry(row: Any) -> Entry:
    entry_id, meter_id, epoch, *rest, detail = row
    epoch = None if epoch is None else _dashed(epoch)
    return Entry._make((entry_id, meter_id, epoch, *rest, msgspec.json.decode(detail)))


def _interval(
    meter_id: str, epoch: object, low: int, high: int, kind: str, ul_num: int, den: int, shift: int, stream: object
) -> Interval:
    # Priced at the positions that its own epoch gave the counts (docs/protocol.md §5).
    volume_ul = Scale(ul_num, den).volume_ul(low - shift, high - shift)
    return Interval(meter_id, _dashed(epoch), low, high, kind, ul_num, den, volume_ul, _dashed(stream))


def _dashed(stored: object) -> str:
    """An id as people write it, however the store keeps it."""
    return str(UUID(str(stored)))
