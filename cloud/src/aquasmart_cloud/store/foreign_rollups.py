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
_DAY = (
    f"SELECT bucket_at, metric, station, {_FIGURES} FROM foreign_rollup"  # noqa: S608
    " WHERE client_id = ? AND grain = ? AND bucket_at >= ? AND bucket_at < ?"
)
_FIRST = "SELECT MIN(bucket_at) FROM foreign_rollup WHERE client_id = ? AND grain = ? AND bucket_at >= ?"
_FORGET = "DELETE FROM foreign_rollup WHERE client_id = ? AND grain = ? AND bucket_at >= ? AND bucket_at < ?"
_PAGE_ROWS = 500


Key = tuple[str, int, str, str]
"""Grain, bucket, metric, station: what a sender's figures are kept by."""


class Cell(NamedTuple):
    """One stored bucket. `station` is '' for events of none."""

    bucket_at: int
    metric: str
    station: str
    tally: Tally


def add(connection: Connection, client_id: str, events: Iterable[Normalised]) -> None:
    """Count newly processed events in every grain."""
    fresh: dict[Key, Tally] = {}
    for event in events:
        count(fresh, event.at_ms, folded(event.metric), folded(event.station or ""), to_nano(event.amount))
    # In order of the key, as every writer takes them.
    for key in sorted(fresh):
        tally = fresh[key]
        found = connection.execute(_FIND, (client_id, *key)).fetchone()
        if found is not None:
            tally.merge(_tally(*found))
        _put(connection, client_id, key, tally)


def count(figures: dict[Key, Tally], at_ms: int, metric: str, station: str, nano: int) -> None:
    """Count one event in the buckets of every grain that it lies in. Metric and station folded, '' for no station."""
    for grain, width_ms in GRAIN_WIDTHS_MS.items():
        key = (grain, at_ms // width_ms * width_ms, metric, station)
        figures.setdefault(key, Tally()).add(nano)


def of_day(connection: Connection, client_id: str, day_at: int) -> dict[Key, Tally]:
    """What is stored for one day (UTC), in every grain."""
    found: dict[Key, Tally] = {}
    for grain in GRAIN_WIDTHS_MS:
        rows = connection.execute(_DAY, (client_id, grain, day_at, day_at + GRAIN_WIDTHS_MS["day"]))
        for bucket_at, metric, station, *figures in rows:
            found[(grain, int(bucket_at), metric, station)] = _tally(*figures)
    return found


def replace_day(connection: Connection, client_id: str, day_at: int, figures: dict[Key, Tally]) -> None:
    """Put these in the place of all that is stored for one day. Under the sender's lock (store.foreign_auditing)."""
    for grain in GRAIN_WIDTHS_MS:
        connection.execute(_FORGET, (client_id, grain, day_at, day_at + GRAIN_WIDTHS_MS["day"]))
    for key in sorted(figures):
        _put(connection, client_id, key, figures[key])


def first_day(connection: Connection, client_id: str, from_ms: int) -> int | None:
    """The first day from `from_ms` on for which there is anything, or None."""
    firsts = [connection.execute(_FIRST, (client_id, grain, from_ms)).fetchone()[0] for grain in GRAIN_WIDTHS_MS]
    found = [int(at) for at in firsts if at is not None]
    return min(found) // GRAIN_WIDTHS_MS["day"] * GRAIN_WIDTHS_MS["day"] if found else None


def _put(connection: Connection, client_id: str, key: Key, tally: Tally) -> None:
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
