"""The whole fleet's figures as they are now: what is added up already, and what the stations' logs tell beyond it.

Read only. One statement, and so one snapshot on every database: however far behind the worker is, the answer is that of
the stations' own rollups, to the microlitre. Where the figures cannot say it, they say nothing (None), and whoever asks
adds up the stations' rollups: before the worker has gone through the fleet once, while the figures are made anew, and
where so much is outstanding that reading it would be no faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from aquasmart_cloud.core.changes import changes, logged

from .connection import Connection
from .database import Database
from .fleet_rollups import BEYOND, COMPLETE, FILLING
from .replaying import Finding
from .schema import GRAIN_WIDTHS_MS

MOST_OUTSTANDING = 5_000
"""Requests that are not added up yet and are read as they are."""
_COUNTED = frozenset({"ingest", "import"})
_NAMED = 20

# Rows of four kinds: the state; whether a station is lacking; what is outstanding; figures.
_NOW = (
    "SELECT 'state' AS kind, state AS text, 0 AS at, 0 AS volume_ul, 0 AS disputed_ul, 0 AS events"  # noqa: S608
    " FROM fleet_fill"
    " UNION ALL SELECT 'lacking', '', COUNT(*), 0, 0, 0 FROM station s LEFT JOIN fleet_mark m"
    " ON m.station_id = s.station_id WHERE s.events > 0 AND (m.station_id IS NULL OR NOT m.complete)"
    " UNION ALL SELECT action, detail, 0, 0, 0, 0 FROM (SELECT l.action, l.detail"
    + BEYOND
    + " LIMIT {most}) AS outstanding"
    " UNION ALL SELECT 'figures', grain, bucket_at, volume_ul, disputed_ul, events FROM fleet_rollup"
)
_OF_SPAN = " WHERE grain = ? AND bucket_at >= ? AND bucket_at < ?"
_OF_STATIONS = (
    " UNION ALL SELECT 'stations', grain, bucket_at, SUM(volume_ul), SUM(disputed_ul), SUM(events) FROM rollup"
    " GROUP BY grain, bucket_at"
)


class Figures(NamedTuple):
    """One bucket of the whole fleet."""

    bucket_at: int
    volume_ul: int
    disputed_ul: int
    events: int


def read(database: Database, grain: str, from_ms: int, to_ms: int) -> list[Figures] | None:
    """The fleet's buckets of a grain within [from, to), oldest first; None where the figures cannot say it now.

    Errors: DatabaseError.
    """
    with database.reading() as connection:
        found = _Found.of(
            connection.execute(_NOW.format(most=MOST_OUTSTANDING + 1) + _OF_SPAN, (grain, from_ms, to_ms))
        )
    if not found.usable:
        return None
    figures = {bucket_at: values for (of_grain, bucket_at), values in found.figures.items() if of_grain == grain}
    return [Figures(at, *figures[at]) for at in sorted(figures) if from_ms <= at < to_ms]


class Outcome(NamedTuple):
    """An audit of the fleet's figures. `state`: emptying, filling, complete, '' before the worker ever ran."""

    state: str
    buckets: int
    findings: tuple[Finding, ...]


def audit(database: Database) -> Outcome:
    """Compare them with the stations' rollups, in one snapshot. Reads every rollup. Errors: DatabaseError."""
    with database.reading() as connection:
        found = _Found.of(connection.execute(_NOW.format(most=1 << 40) + _OF_STATIONS))
    if not found.comparable:
        return Outcome(FILLING if found.state == COMPLETE else found.state, 0, ())
    differing = sorted(
        key for key in found.figures.keys() | found.stations.keys() if found.figures.get(key) != found.stations.get(key)
    )
    findings = [
        Finding(
            "fleet",
            f"{grain} {at}",
            f"stored {found.figures.get((grain, at))}; the stations' rollups come to"
            f" {found.stations.get((grain, at))} (volume µl, disputed µl, events)",
        )
        for grain, at in differing[:_NAMED]
    ]
    if len(differing) > _NAMED:
        findings.append(Finding("fleet", "", f"and {len(differing) - _NAMED} buckets more"))
    return Outcome(found.state, len(found.stations), tuple(findings))


def outstanding(connection: Connection) -> int:
    """Events that are counted and not yet added up: how far the worker is behind. Errors: DatabaseError."""
    row = connection.execute(
        "SELECT COALESCE(SUM(s.events - COALESCE(m.events, 0)), 0) FROM station s LEFT JOIN fleet_mark m"
        " ON m.station_id = s.station_id"
    ).fetchone()
    return int(row[0])


class _Found:
    """The rows of such a statement, put together."""

    def __init__(self) -> None:
        self.state = ""
        self.lacking = False
        self.untold = False
        self.requests = 0
        self.figures: dict[tuple[str, int], list[int]] = {}
        self.stations: dict[tuple[str, int], list[int]] = {}

    @classmethod
    def of(cls, rows: Any) -> _Found:
        """All of them."""
        found = cls()
        for kind, text, at, *figures in rows:
            if kind == "state":
                found.state = text
            elif kind == "lacking":
                found.lacking = at > 0
            elif kind == "figures":
                found._add((text, at), figures)
            elif kind == "stations":
                found.stations[text, at] = [int(figure) for figure in figures]
            else:
                found._outstanding(kind, text)
        return found

    @property
    def usable(self) -> bool:
        """Whether they say it, and quickly."""
        return self.comparable and self.requests <= MOST_OUTSTANDING

    @property
    def comparable(self) -> bool:
        """Whether they say it, however much is outstanding."""
        return self.state == COMPLETE and not (self.lacking or self.untold)

    def _outstanding(self, action: str, detail: str) -> None:
        self.requests += 1
        if action not in _COUNTED:
            return
        said = logged(detail)
        self.untold = self.untold or not said.told
        for change in changes(said):
            for grain, width_ms in GRAIN_WIDTHS_MS.items():
                self._add((grain, change.bucket_at // width_ms * width_ms), change[1:])

    def _add(self, key: tuple[str, int], figures: Any) -> None:
        cell = self.figures.setdefault(key, [0, 0, 0])
        for index, figure in enumerate(figures):
            cell[index] += figure
