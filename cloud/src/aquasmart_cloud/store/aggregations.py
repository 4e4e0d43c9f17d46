"""Figures by station, client, metric and time, added up from the rollups. Read only; never reads an event.

Foreign events: exact sums, percentiles from sketches. Station volumes: integers in microlitres, from the stations'
own rollups, which have no percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

from aquasmart_cloud.core.identity import folded
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.tally import Tally

from . import fleet_figures, foreign_queries, foreign_rollups
from .database import Database
from .foreign_queries import Wanted
from .schema import GRAIN_WIDTHS_MS

TIMES = ("minute", "hour", "day", "month")
GROUPS = ("station", "client", "metric", *TIMES)
MOST_GROUPS = 10_000
STATION_METRIC = "volume_ul"
_FAR = (1 << 61) // 86_400_000 * 86_400_000

# From the list of meters each one's buckets of a grain are one seek in the rollups' key, however long its history; ''
# is the meter of what no meter counted. A page of stations at a time: a large fleet is neither asked one by one nor
# held at once.
_BUCKETS = (
    "SELECT rollup.station_id, rollup.bucket_at, SUM(rollup.events), SUM(rollup.volume_ul) FROM"
    " (SELECT station_id, meter_id FROM epoch WHERE station_id >= ?1 AND station_id <= ?2"
    " UNION SELECT station_id, '' FROM station WHERE station_id >= ?1 AND station_id <= ?2) AS meter"
    " JOIN rollup ON rollup.station_id = meter.station_id AND rollup.meter_id = meter.meter_id"
    " AND rollup.grain = ?3 AND rollup.bucket_at >= ?4 AND rollup.bucket_at < ?5"
    " GROUP BY rollup.station_id, rollup.bucket_at"
)
_PAGE = (
    "SELECT MIN(station_id), MAX(station_id) FROM"
    " (SELECT station_id FROM station WHERE station_id > ? ORDER BY station_id LIMIT 200) AS page"
)

Key = tuple[Any, ...]


class Part(NamedTuple):
    """Buckets of one grain, from <= bucket < to."""

    grain: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Question:
    """What to add up: which events, by what. At most one of `by` is a time."""

    wanted: Wanted
    by: tuple[str, ...]

    @property
    def parts(self) -> list[Part]:
        """The span in pieces of the coarsest stored grain that the groups allow, finer ones at its edges only.

        A month up to this minute is thirty days, some hours and some minutes, not forty thousand minutes.
        Errors: Refusal invalid.
        """
        coarsest = next((each for each in self.by if each in GRAIN_WIDTHS_MS), "day")
        grains = [name for name in ("day", "hour", "minute") if GRAIN_WIDTHS_MS[name] <= GRAIN_WIDTHS_MS[coarsest]]
        # Without an end it is the end of a day far away: no bucket is there.
        end = self.wanted.to_ms if self.wanted.to_ms != Wanted().to_ms else _FAR
        if self.wanted.from_ms % GRAIN_WIDTHS_MS["minute"] or end % GRAIN_WIDTHS_MS["minute"]:
            raise Refusal("invalid", "from, to: must be whole minutes (UTC)")
        return list(_parts(self.wanted.from_ms, end, grains))

    def key(self, client: str | None, station: str | None, metric: str, bucket_at: int) -> Key:
        """The group of one bucket."""
        values = {"client": client, "station": station, "metric": metric}
        return tuple(_start(each, bucket_at) if each in TIMES else values[each] for each in self.by)


def _parts(from_ms: int, to_ms: int, grains: Sequence[str]) -> Iterator[Part]:
    """`[from_ms, to_ms)` in whole buckets: of the first grain within, of the others before and behind."""
    if from_ms >= to_ms:
        return
    width_ms, finer = GRAIN_WIDTHS_MS[grains[0]], grains[1:]
    first, last = -(-from_ms // width_ms) * width_ms, to_ms // width_ms * width_ms
    if first >= last:
        yield from _parts(from_ms, to_ms, finer)
        return
    yield from _parts(from_ms, first, finer)
    yield Part(grains[0], first, last)
    yield from _parts(last, to_ms, finer)


def of_events(database: Database, question: Question) -> list[dict[str, Any]]:
    """Groups of processed foreign events, in order of their keys. Errors: DatabaseError; Refusal invalid."""
    wanted, groups, parts = question.wanted, dict[Key, Tally](), question.parts
    metric = None if wanted.metric is None else folded(wanted.metric)
    station = None if wanted.station is None else folded(wanted.station)
    senders = [wanted.client_id] if wanted.client_id is not None else foreign_queries.senders(database)
    for sender in senders:
        for cell in chain.from_iterable(foreign_rollups.cells(database, sender, *part) for part in parts):
            if metric in (None, cell.metric) and station in (None, cell.station):
                key = question.key(sender, cell.station or None, cell.metric, cell.bucket_at)
                _group(groups, key).merge(cell.tally)
    return [_named(question, key) | groups[key].document() for key in sorted(groups, key=_order)]


def of_stations(database: Database, question: Question) -> list[dict[str, Any]]:
    """Groups of the stations' volume (µl, integers), in order of their keys. Errors: DatabaseError; Refusal invalid."""
    groups: dict[Key, _Volume] = {}
    for station_id, bucket_at, events, volume_ul in _buckets(database, question):
        key = question.key(None, station_id, STATION_METRIC, bucket_at)
        if key not in groups and len(groups) >= MOST_GROUPS:
            raise _too_many()
        groups.setdefault(key, _Volume()).add(events, volume_ul)
    return [_named(question, key) | groups[key].document() for key in sorted(groups, key=_order)]


@dataclass(slots=True)
class _Volume:
    """Events and microlitres of a group."""

    events: int = 0
    volume_ul: int = 0

    def add(self, events: int, volume_ul: int) -> None:
        self.events += int(events)
        self.volume_ul += int(volume_ul)

    def document(self) -> dict[str, Any]:
        return {"count": self.events, "sum": str(self.volume_ul)}


def _buckets(database: Database, question: Question) -> Iterator[Any]:
    """Station, bucket, events, volume; of the whole fleet at once (station None) where nobody asks for stations."""
    wanted, parts = question.wanted, question.parts
    if wanted.metric not in (None, STATION_METRIC) or wanted.client_id is not None:
        return
    if wanted.station is None and "station" not in question.by:
        found = [fleet_figures.read(database, *part) for part in parts]
        if None not in found:
            for each in chain.from_iterable(part for part in found if part is not None):
                yield None, each.bucket_at, each.events, each.volume_ul
            return
    yield from _station_buckets(database, wanted.station, parts)


def _station_buckets(database: Database, station_id: str | None, parts: Sequence[Part]) -> Iterator[Any]:
    for first, last in _pages(database, station_id):
        for part in parts:
            with database.reading() as connection:
                rows = connection.execute(_BUCKETS, (first, last, *part)).fetchall()
            yield from rows


def _pages(database: Database, station_id: str | None) -> Iterator[tuple[str, str]]:
    """The first and the last station of each page: of the one asked for, or of all."""
    if station_id is not None:
        yield station_id, station_id
        return
    last: str | None = ""
    while True:
        with database.reading() as connection:
            first, last = connection.execute(_PAGE, (last,)).fetchone()
        if first is None or last is None:
            return
        yield first, last


def _group(groups: dict[Key, Tally], key: Key) -> Tally:
    if key not in groups and len(groups) >= MOST_GROUPS:
        raise _too_many()
    return groups.setdefault(key, Tally())


def _too_many() -> Refusal:
    return Refusal("invalid", f"more than {MOST_GROUPS} groups; ask for a shorter time or fewer groups")


def _named(question: Question, key: Key) -> dict[str, Any]:
    return dict(zip(question.by, key, strict=True))


def _start(time: str, bucket_at: int) -> int:
    """The beginning of the minute, hour, day or month (UTC) that a bucket lies in, Unix ms."""
    if time in GRAIN_WIDTHS_MS:
        return bucket_at // GRAIN_WIDTHS_MS[time] * GRAIN_WIDTHS_MS[time]
    day = datetime.fromtimestamp(bucket_at // 1000, UTC)
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000


def _order(key: Key) -> tuple[Any, ...]:
    """Keys in order, with what has no station before those that have one."""
    return tuple((each is not None, each) for each in key)
