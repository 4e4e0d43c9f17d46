"""The audit of one station: every stored signature, contiguity and sum, and that the books follow from the bodies.

Read only. A finding names its place; what was let go by retention is said, and no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .connection import Connection
from .database import Database
from .replaying import DERIVED, NAMED, TOTALS, Finding, Progress, Replay, derived_rows, find_holes, replay
from .stations import Stations

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was verified, and what does not hold. `missing`: batches that the log knows and that are kept no more."""

    station_id: str
    batches: int
    events: int
    volume_ul: int
    missing: int
    findings: tuple[Finding, ...]

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "station_id": self.station_id,
            "batches": self.batches,
            "events": self.events,
            "volume_ul": self.volume_ul,
            "batches_let_go": self.missing,
            "books_verified": not self.missing,
            "findings": [finding._asdict() for finding in self.findings],
        }


def verify_station(
    database: Database, stations: Stations, station_id: str, progress: Progress = lambda *_: None
) -> Audit:
    """Audit one station, which may send meanwhile. Errors: StationError, DatabaseError, SealError."""
    with replay(database, stations, station_id) as reckoned:
        reckoned.catch_up(progress)
        # The rest under the station's lock, so that both sides of the comparison are of one moment.
        with database.writing(station_id) as connection, reckoned.scratch.reading() as scratch:
            reckoned.catch_up(progress)
            findings = [*reckoned.findings, *reckoned.unnamed()]
            if extra := reckoned.stored_batches() - reckoned.batches:
                findings.append(Finding("log", station_id, f"{extra} stored batches that no accepted request explains"))
            if not reckoned.missing:
                findings += compare_books(connection, scratch, station_id)
            (_, volume_ul, _) = connection.execute(TOTALS, (station_id,)).fetchone()
        return _audit(reckoned, volume_ul, findings)


def _audit(reckoned: Replay, volume_ul: int, findings: list[Finding]) -> Audit:
    return Audit(reckoned.station_id, reckoned.batches, reckoned.events, volume_ul, reckoned.missing, tuple(findings))


def compare_books(stored: Connection, reckoned: Connection, station_id: str) -> list[Finding]:
    """Where totals, holes, marks, epochs, intervals or rollups are not those that follow from the bodies."""
    findings = []
    totals, follow = (each.execute(TOTALS, (station_id,)).fetchone() for each in (stored, reckoned))
    if tuple(totals) != tuple(follow):
        said = f"stored {tuple(totals)}; from the bodies {tuple(follow)} (events, volume µl, disputed µl)"
        findings.append(Finding("totals", station_id, said))
    holes, follow_holes = find_holes(stored, station_id), find_holes(reckoned, station_id)
    wrong = holes.open.keys() - follow_holes.open.keys()
    absent = follow_holes.open.keys() - holes.open.keys() - holes.explained.keys()
    findings += [Finding("holes", station_id, f"named, but there is none: {hole}") for hole in wrong]
    findings += [Finding("holes", station_id, f"there is one, but it is not named: {hole}") for hole in absent]
    for table in DERIVED:
        more = 0
        for said, row in _differing(derived_rows(stored, table, station_id), derived_rows(reckoned, table, station_id)):
            if sum(1 for each in findings if each.what == table) < NAMED:
                findings.append(Finding(table, station_id, f"{said}: {row}"))
            else:
                more += 1
        if more:
            findings.append(Finding(table, station_id, f"and {more} rows more"))
    return findings


def _differing(stored: Iterator[Row], reckoned: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """Rows that only one side has, of a page of each: what both have is passed over.

    Both come in the order of the key, so what is left over in a page stands on one side for good or is found on the
    other side's next ones; only what differs is held, and it is let go as soon as it finds its like.
    """
    waiting: Counter[Row] = Counter()
    for one, other in zip_longest(stored, reckoned):
        if one == other:
            continue
        for row, by in ((one, 1), (other, -1)):
            if row is not None:
                waiting[row] += by
                if not waiting[row]:
                    del waiting[row]
    for row, number in waiting.items():
        yield ("stored, but does not follow" if number > 0 else "follows, but is not stored"), row
