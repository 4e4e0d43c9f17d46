"""Pages of the stations' own events, decoded from their stored batches. Read only.

Keyset over batches: a page begins at a batch and a seq within it, so a fleet of any age is read in the memory of a few
batches, and no statement stays open between pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.core.model import Scale

from .database import Database
from .events import unpack

_STATIONS = "SELECT station_id FROM station WHERE station_id >= ? ORDER BY station_id"
_BATCHES = (
    "SELECT b.at_from, b.stream, b.from_seq, b.received_at, b.encoding, b.body, s.meter_id, s.ul_num, s.den"
    " FROM batch b JOIN stream s ON s.station_id = b.station_id AND s.stream = b.stream"
    " WHERE b.station_id = ? AND b.at_to >= ? AND b.at_from < ?"
    " AND (b.at_from, b.stream, b.from_seq) >= (?, ?, ?) ORDER BY b.at_from, b.stream, b.from_seq LIMIT 4"
)
_FIRST = "0" * 32
_CURSOR = re.compile(r"([a-z0-9-]{1,64})\.(-?[0-9]{1,18})\.([0-9a-f]{32})\.([0-9]{1,18})\.([0-9]{1,18})")
_LEAST = -(1 << 62)


class Mark(NamedTuple):
    """Where a page ended: a batch, and the last seq of it that was given."""

    station_id: str
    at_from: int
    stream: str
    from_seq: int
    seq: int

    def text(self) -> str:
        """As a cursor, to be handed back unread."""
        return ".".join(map(str, self))

    @classmethod
    def of_text(cls, text: str) -> Mark | None:
        """A cursor read back; None where it is none."""
        match = _CURSOR.fullmatch(text)
        return None if match is None else cls(match[1], int(match[2]), match[3], int(match[4]), int(match[5]))


class Span(NamedTuple):
    """Events of a station (None: of all) with `from_ms` <= believed time < `to_ms`."""

    station_id: str | None
    from_ms: int
    to_ms: int


def events(database: Database, span: Span, after: Mark | None = None) -> Iterator[tuple[dict[str, Any], Mark]]:
    """Events with the mark behind each: station by station, batches in order of their beginning.

    Errors: DatabaseError.
    """
    for station_id in _stations(database, span, after):
        start = after if after is not None and after.station_id == station_id else None
        yield from _of_station(database, station_id, span, start or Mark(station_id, _LEAST, _FIRST, 0, 0))


def _stations(database: Database, span: Span, after: Mark | None) -> list[str]:
    if span.station_id is not None:
        return [span.station_id]
    with database.reading() as connection:
        rows = connection.execute(_STATIONS, ("" if after is None else after.station_id,)).fetchall()
    return [row[0] for row in rows]


def _of_station(database: Database, station_id: str, span: Span, mark: Mark) -> Iterator[tuple[dict[str, Any], Mark]]:
    while True:
        place = (mark.at_from, mark.stream, mark.from_seq)
        with database.reading() as connection:
            rows = connection.execute(_BATCHES, (station_id, span.from_ms, span.to_ms, *place)).fetchall()
        for row in rows:
            same = (row[0], row[1], row[2]) == place
            yield from _of_batch(station_id, row, span, mark.seq if same else 0)
        if len(rows) < 4:
            return
        # The next look begins behind the last batch: no batch has another at its own place.
        mark = Mark(station_id, rows[-1][0], rows[-1][1], rows[-1][2] + 1, 0)


def _of_batch(station_id: str, row: Any, span: Span, seen: int) -> Iterator[tuple[dict[str, Any], Mark]]:
    """The events of one stored batch above seq `seen`, rows that were known before left out."""
    at_from, stream, from_seq, received_at, encoding, body, meter_id, ul_num, den = row
    batch = decode_batch(inflate(bytes(body), None if encoding == "-" else encoding))
    before, scale = batch.counts_before, None if ul_num is None else Scale(ul_num, den)
    identity = UUID(stream)
    shown = str(identity)
    for event in unpack(batch, stream, received_at):
        volume_ul = 0 if scale is None else scale.volume_ul(before, event.counts)
        before = event.counts
        if event.seq < from_seq or event.seq <= seen or not span.from_ms <= event.at < span.to_ms:
            continue
        document = {
            "station_id": station_id,
            "meter_id": meter_id,
            "event_id": str(uuid5(identity, str(event.seq))),
            "stream": shown,
            "seq": event.seq,
            "seqs": event.seqs,
            "at": event.at,
            "kind": event.kind,
            "flags": event.flags,
            "counts": event.counts,
            "volume_ul": volume_ul,
            "data": None if event.data is None else msgspec.Raw(event.data.encode()),
        }
        yield document, Mark(station_id, at_from, stream, from_seq, event.seq)
