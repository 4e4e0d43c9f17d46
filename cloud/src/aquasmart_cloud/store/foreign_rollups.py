"""Figures of processed foreign events by minute, hour and day (`foreign_rollup`). This table's one writer.

Written inside the intake transaction, under the sender's lock: what is added up is exactly what was stored.
Failed and repeated events never come here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aquasmart_cloud.core.identity import folded
from aquasmart_cloud.core.normalising.amounts import from_nano, to_nano
from aquasmart_cloud.core.normalising.event import Normalised
from aquasmart_cloud.core.sketch import Sketch
from aquasmart_cloud.core.tally import Tally

from .connection import Connection
from .database import Database
from .schema import GRAIN_WIDTHS_MS

_KEY = "client_id = ? AND grain = ? AND bucket_at = ? AND metric = ? AND station = ?"
_FIGURES = "events, amount_sum, amount_min, amount_max, sketch"
_FIND = f"SELECT {_FIGURES} FROM foreign_rollup WHERE {_KEY}"  # noqa: S608  (constants)
_PUT = (
    "INSERT INTO foreign_rollup (client_id, grain, bucket_at, metric, station, events, amount_sum, amount_min,"
    " amount_max, sketch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (client_id, grain, bucket_at, metric, station) DO UPDATE SET events = excluded.events,"
    " amount_sum = excluded.amount_sum, amount_min = excluded.amount_min, amount_max = excluded.amount_max,"
    " sketch = excluded.sketch"
)
_PAGE = (
    f"SELECT bucket_at, metric, station, {_FIGURES} FROM foreign_rollup"  # noqa: S608
    " WHERE client_id = ? AND grain = ? AND bucket_at < ? AND (bucket_at, metric, station) > (?, ?, ?)"
    " ORDER BY bucket_at, metric, station LIMIT ?"
)
_PAGE_ROWS = 500


class Cell(NamedTuple):
    """One stored bucket. `station` is '' for events of none."""

    bucket_at: int
    metric: str
    station: str
    tally: Tally


def add(connection: Connection, client_id: str, events: Iterable[Normalised]) -> None:
    """Count newly processed events in every grain."""
    fresh: dict[tuple[str, int, str, str], Tally] = {}
    for event in events:
        for grain, width_ms in GRAIN_WIDTHS_MS.items():
            bucket_at = event.at_ms // width_ms * width_ms
            key = (grain, bucket_at, folded(event.metric), folded(event.station or ""))
            fresh.setdefault(key, Tally()).add(to_nano(event.amount))
    # In order of the key, as every writer takes them.
    for key in sorted(fresh):
        tally = fresh[key]
        found = connection.execute(_FIND, (client_id, *key)).fetchone()
        if found is not None:
            tally.merge(_tally(*found))
        figures = (tally.count, *map(from_nano, (tally.sum_nano, tally.least_nano, tally.most_nano)))
        connection.execute(_PUT, (client_id, *key, *figures, tally.sketch.text()))


def cells(database: Database, client_id: str, grain: str, from_ms: int, to_ms: int) -> Iterator[Cell]:
    """A sender's buckets with `from_ms` <= bucket < `to_ms`, in order, a page at a time. Errors: DatabaseError."""
    after: tuple[int, str, str] = (from_ms, "", "")
    # No metric is '', so nothing is at the first mark itself.
    while True:
        with database.reading() as connection:
            rows = connection.execute(_PAGE, (client_id, grain, to_ms, *after, _PAGE_ROWS)).fetchall()
        for bucket_at, metric, station, *figures in rows:
            yield Cell(bucket_at, metric, station, _tally(*figures))
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1][:3]


def _tally(events: int, amount_sum: str, amount_min: str, amount_max: str, sketch: str) -> Tally:
    return Tally(events, nano_of(amount_sum), nano_of(amount_min), nano_of(amount_max), Sketch.of_text(sketch))


def nano_of(text: str) -> int:
    """A stored amount in billionths. Sums are longer than any amount may be, so it is read by its digits."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0"))
