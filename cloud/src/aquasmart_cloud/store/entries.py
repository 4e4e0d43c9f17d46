"""Named differences: what does not fit, by how much, since when, and whether it is settled (`ledger_entry`).

The only writer of that table. Everything here happens inside the ingest transaction that found the difference,
so a difference is named exactly when its rows are stored. A difference that goes on (an overlap batch after
batch, a clock of claims) grows in one open entry instead of alarming again each time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.ledger import without
from aquasmart_cloud.core.model import Scale

from .connection import Connection

OVERLAP = "overlap"
HOLE = "hole"
CLAIM_DIFFERENCE = "claim-difference"
ROW_DIFFERENCE = "row-difference"
UNKNOWN_BEFORE = "unknown-before"
DISPUTED = "disputed"
UNMEASURED = "unmeasured"
CLONE_SUSPECTED = "clone-suspected"
ABANDONED = "abandoned"

_INSERT = (
    "INSERT INTO ledger_entry (station_id, entry_id, meter_id, epoch, kind, subject, from_counts, to_counts,"
    " volume_ul, detail, opened_at, state)"
    " SELECT ?1, COALESCE(MAX(entry_id), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'open'"
    " FROM ledger_entry WHERE station_id = ?1"
)
_FIND = (
    "SELECT entry_id, from_counts, to_counts, volume_ul, detail FROM ledger_entry"
    " WHERE station_id = ? AND state = 'open' AND kind = ? AND subject = ?"
)
_FIND_ANY = "SELECT 1 FROM ledger_entry WHERE station_id = ? AND kind = ? AND subject = ? LIMIT 1"
_GROW = (
    "UPDATE ledger_entry SET from_counts = ?, to_counts = ?, volume_ul = ?, detail = ?"
    " WHERE station_id = ? AND entry_id = ?"
)
_HOLES = (
    "SELECT entry_id, from_counts, to_counts, detail FROM ledger_entry"
    " WHERE station_id = ? AND state IN ('open', 'explained')"
    " AND kind = 'hole' AND meter_id = ? AND epoch = ? AND from_counts < ? AND to_counts > ?"
)
_SHRINK = "UPDATE ledger_entry SET from_counts = ?, to_counts = ?, volume_ul = ? WHERE station_id = ? AND entry_id = ?"
_SPLIT = (
    "INSERT INTO ledger_entry (station_id, entry_id, meter_id, epoch, kind, subject, from_counts, to_counts,"
    " volume_ul, detail, opened_at, state, closed_at, closed_by, note)"
    " SELECT e.station_id, (SELECT MAX(entry_id) + 1 FROM ledger_entry WHERE station_id = ?1), e.meter_id, e.epoch,"
    " e.kind, ?3, ?4, ?5, ?6, e.detail, e.opened_at, e.state, e.closed_at, e.closed_by, e.note"
    " FROM ledger_entry e WHERE e.station_id = ?1 AND e.entry_id = ?2"
)
_EXPLAIN = (
    "UPDATE ledger_entry SET state = 'explained', closed_at = ?, closed_by = ?, note = ?"
    " WHERE station_id = ? AND entry_id = ? AND state = 'open'"
)
_REOPEN = (
    "UPDATE ledger_entry SET state = 'open', closed_at = NULL, closed_by = NULL, note = NULL"
    " WHERE station_id = ? AND entry_id = ? AND state = 'explained'"
)
_FILLED = (
    "UPDATE ledger_entry SET volume_ul = 0, state = 'closed', closed_at = ?, closed_by = 'rows'"
    " WHERE station_id = ? AND entry_id = ?"
)


class Place(NamedTuple):
    """Where a difference is: a meter's root epoch, or neither for what concerns the station."""

    meter_id: str | None
    epoch: str | None


def explain(connection: Connection, station_id: str, entry_id: int, by: str, note: str, now_ms: int) -> bool:
    """Somebody knows why; False where it is not open. It stays in the books and alarms nobody any more."""
    return connection.execute(_EXPLAIN, (now_ms, by, note, station_id, entry_id)).rowcount == 1


def reopen(connection: Connection, station_id: str, entry_id: int) -> bool:
    """The explanation was wrong; False where nobody has explained it."""
    return connection.execute(_REOPEN, (station_id, entry_id)).rowcount == 1


class Entries:
    """The differences of one station, within one transaction."""

    def __init__(self, connection: Connection, station_id: str, now_ms: int) -> None:
        self._connection = connection
        self._station_id = station_id
        self._now_ms = now_ms

    def grow(
        self, kind: str, subject: str, place: Place, extent: tuple[int, int], volume_ul: int, detail: dict[str, Any]
    ) -> None:
        """Name a difference, or add to the open one about the same subject (`detail.times` counts)."""
        found = self._connection.execute(_FIND, (self._station_id, kind, subject)).fetchone()
        if found is None:
            self._insert(kind, subject, place, extent, volume_ul, detail | {"times": 1})
            return
        entry_id, low, high, volume_before, text = found
        former = msgspec.json.decode(text, type=dict[str, Any])
        grown = former | detail | {"times": former.get("times", 1) + 1}
        self._connection.execute(
            _GROW,
            (
                min(low, extent[0]),
                max(high, extent[1]),
                volume_before + volume_ul,
                _text(grown),
                self._station_id,
                entry_id,
            ),
        )

    def once(
        self, kind: str, subject: str, place: Place, extent: tuple[int, int], volume_ul: int, detail: dict[str, Any]
    ) -> None:
        """Name a difference that is a single fact; nothing when it has been named before, settled or not."""
        if self._connection.execute(_FIND_ANY, (self._station_id, kind, subject)).fetchone() is None:
            self._insert(kind, subject, place, extent, volume_ul, detail)

    def set(
        self, kind: str, subject: str, place: Place, extent: tuple[int, int], volume_ul: int, detail: dict[str, Any]
    ) -> None:
        """Name a difference, or bring the open one about the same subject to these figures."""
        found = self._connection.execute(_FIND, (self._station_id, kind, subject)).fetchone()
        if found is None:
            self._insert(kind, subject, place, extent, volume_ul, detail)
            return
        self._connection.execute(_GROW, (*extent, volume_ul, _text(detail), self._station_id, found[0]))

    def open_hole(self, place: Place, hole: tuple[int, int], scale: Scale, shift_counts: int, stream: str) -> None:
        """Name uncovered counts, priced by the stream that showed them."""
        detail = {"stream": stream, "ul_num": scale.ul_num, "den": scale.den, "shift_counts": shift_counts}
        volume_ul = scale.volume_ul(hole[0] - shift_counts, hole[1] - shift_counts)
        self._insert(HOLE, f"{place.epoch}:{hole[0]}", place, hole, volume_ul, detail)

    def fill_holes(self, place: Place, from_counts: int, to_counts: int) -> None:
        """Take newly covered counts out of the holes. A hole cut in two becomes two; one filled is closed.

        Also of those that people have explained: what is booked is no longer missing, whoever thought so.
        """
        rows = self._connection.execute(
            _HOLES, (self._station_id, place.meter_id, place.epoch, to_counts, from_counts)
        ).fetchall()
        for entry_id, low, high, text in rows:
            rest = without((low, high), from_counts, to_counts)
            if not rest:
                self._connection.execute(_FILLED, (self._now_ms, self._station_id, entry_id))
                continue
            detail = msgspec.json.decode(text, type=dict[str, Any])
            scale, shift = Scale(detail["ul_num"], detail["den"]), detail["shift_counts"]
            (start, end), *others = rest
            volume_ul = scale.volume_ul(start - shift, end - shift)
            self._connection.execute(_SHRINK, (start, end, volume_ul, self._station_id, entry_id))
            for start, end in others:
                volume_ul = scale.volume_ul(start - shift, end - shift)
                subject = f"{place.epoch}:{start}"
                self._connection.execute(_SPLIT, (self._station_id, entry_id, subject, start, end, volume_ul))

    def _insert(
        self, kind: str, subject: str, place: Place, extent: tuple[int, int], volume_ul: int, detail: dict[str, Any]
    ) -> None:
        self._connection.execute(
            _INSERT,
            (
                self._station_id,
                place.meter_id,
                place.epoch,
                kind,
                subject,
                extent[0],
                extent[1],
                volume_ul,
                _text(detail),
                self._now_ms,
            ),
        )


def _text(detail: dict[str, Any]) -> str:
    return msgspec.json.encode(detail).decode()
