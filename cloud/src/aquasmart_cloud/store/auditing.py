"""The audit of one station: every stored signature, contiguity and sum, and that the books follow from the bodies.

Read only. A finding names its place; what was let go by retention is said, and no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .connection import Connection
from .database import Database
from .replaying import DERIVED, TOTALS, Finding, Replay, derived_rows, find_holes, replay
from .stations import Stations

_NAMED = 20
"""Differing rows of one table that are named; more are counted."""


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
    database: Database, stations: Stations, station_id: str, progress: Callable[[int], None] = lambda _: None
) -> Audit:
    """Audit one station, which may send meanwhile. Errors: StationError, DatabaseError, SealError."""
    with replay(database, stations, station_id) as reckoned:
        reckoned.catch_up(progress)
        # The rest under the station's lock, so that both sides of the comparison are of one moment.
        with database.writing(station_id) as connection, reckoned.scratch.reading() as scratch:
            reckoned.catch_up(progress)
            findings = list(reckoned.findings)
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
        one, other = (Counter(derived_rows(each, table, station_id)) for each in (stored, reckoned))
        stale, lacking = list((one - other).elements()), list((other - one).elements())
        findings += [Finding(table, station_id, f"stored, but does not follow: {row}") for row in stale[:_NAMED]]
        findings += [Finding(table, station_id, f"follows, but is not stored: {row}") for row in lacking[:_NAMED]]
        if (more := len(stale) + len(lacking) - len(stale[:_NAMED]) - len(lacking[:_NAMED])) > 0:
            findings.append(Finding(table, station_id, f"and {more} rows more"))
    return findings
