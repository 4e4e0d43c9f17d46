"""The audit of one sender of foreign events, and the rebuilding of its figures: day by day, in the memory of a day.

What was stored must still be what came (numbers, identities, amounts), and the rollups must follow from it. The audit
reads one moment and holds no lock. A rebuild makes only the days that differ again, each in one transaction under the
sender's lock: whoever reads sees that day's figures of before or those of after, and what comes meanwhile is counted,
since the day is added up again from its events under that lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aquasmart_cloud.core.errors import ClientError
from aquasmart_cloud.core.identity import folded, raw_identity
from aquasmart_cloud.core.normalising.amounts import from_nano
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.tally import Tally

from . import foreign_rollups, identities, intake
from .connection import Connection
from .database import Database
from .foreign_rollups import Key, nano_of
from .replaying import NAMED, Finding
from .schema import GRAIN_WIDTHS_MS

DAY_MS = GRAIN_WIDTHS_MS["day"]
_PAGE_ROWS = 500

_SENDER = "SELECT last_event, last_failed FROM intake WHERE client_id = ?"
_SENDERS = "SELECT client_id FROM intake ORDER BY client_id"
_NUMBERS = "SELECT COUNT(*), MAX(event_seq) FROM foreign_event WHERE client_id = ?"
_FIRST = "SELECT MIN(at) FROM foreign_event WHERE client_id = ? AND at >= ?"
_EVENTS = (
    "SELECT at, event_seq, metric, station, amount, normalised, raw FROM foreign_event"
    " WHERE client_id = ? AND at < ? AND (at, event_seq) > (?, ?) ORDER BY at, event_seq LIMIT ?"
)
_FAILURES = (
    "SELECT failed_seq, raw, raw_hash, state, event_seq FROM failed_event"
    " WHERE client_id = ? AND failed_seq > ? ORDER BY failed_seq LIMIT ?"
)

Progress = Callable[[int, int], None]
"""Told how many events were looked at, and of how many."""


@dataclass(slots=True)
class ForeignAudit:
    """What was verified, and what does not hold. `missing`: events that were counted and are kept no more."""

    client_id: str
    events: int = 0
    failures: int = 0
    missing: int = 0
    findings: list[Finding] = field(default_factory=list)
    wrong_days: dict[int, int] = field(default_factory=dict)
    """Days (Unix ms, UTC) whose figures do not follow, with the events that were seen of each."""
    _unnamed: dict[str, int] = field(default_factory=dict)

    def find(self, what: str, where: str, detail: str) -> None:
        """Name a finding, or count it where enough of its kind are named."""
        if sum(1 for each in self.findings if each.what == what) < NAMED:
            self.findings.append(Finding(what, where, detail))
        else:
            self._unnamed[what] = self._unnamed.get(what, 0) + 1

    def finish(self) -> ForeignAudit:
        """Say how many were not named."""
        self.findings += [Finding(what, self.client_id, f"and {more} more") for what, more in self._unnamed.items()]
        return self

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "client_id": self.client_id,
            "events": self.events,
            "failures": self.failures,
            "events_let_go": self.missing,
            "books_verified": not self.missing,
            "findings": [finding._asdict() for finding in self.findings],
        }


def senders(database: Database) -> list[str]:
    """Everyone who has sent foreign events. Errors: DatabaseError."""
    with database.reading() as connection:
        return [client_id for (client_id,) in connection.execute(_SENDERS).fetchall()]


def verify_sender(database: Database, client_id: str, progress: Progress = lambda *_: None) -> ForeignAudit:
    """Audit one sender, which may send meanwhile. Errors: ClientError for one that never sent; DatabaseError."""
    audit = ForeignAudit(client_id)
    with database.snapshot() as connection:
        row = connection.execute(_SENDER, (client_id,)).fetchone()
        if row is None:
            raise ClientError(f"{client_id} has sent no events", "'aquasmart-cloud client list' shows the clients")
        last_event, last_failed = map(int, row)
        stored, highest = connection.execute(_NUMBERS, (client_id,)).fetchone()
        audit.missing = max(0, last_event - int(stored))
        if int(highest or 0) > last_event:
            audit.find(
                "numbers", client_id, f"event {highest} is stored, but only {last_event} were ever given a number"
            )
        for day_at in _days(connection, client_id):
            _verify_day(connection, audit, day_at, lambda seen: progress(seen, last_event))
        _verify_failures(connection, audit, last_event, last_failed)
    return audit.finish()


def rebuild_sender(database: Database, client_id: str, progress: Progress = lambda *_: None) -> list[Finding]:
    """Make the figures that do not follow from a sender's events again; what they were, nothing where all were right.

    Errors: ClientError where the events do not suffice or do not hold, nothing changed; DatabaseError.
    """
    audit = verify_sender(database, client_id, progress)
    if audit.wrong_days and audit.missing:
        raise ClientError(
            f"{audit.missing} events of {client_id} are kept no more: the rest do not make its figures",
            "restore a backup that has them; retention is what lets events go",
        )
    others = [finding for finding in audit.findings if finding.what != "rollup"]
    if others:
        raise ClientError(
            f"what {client_id} sent does not hold: {others[0].what}, {others[0].where}: {others[0].detail}",
            f"'aquasmart-cloud audit verify {client_id}' names everything; restore a backup",
        )
    for day_at, seen in audit.wrong_days.items():
        with database.writing(client_id) as connection:
            intake.lock(connection, client_id)
            figures: dict[Key, Tally] = {}
            events = 0
            for at, _, metric, station, amount, _, _ in _events(connection, client_id, day_at):
                foreign_rollups.count(figures, at, metric, station or "", nano_of(amount))
                events += 1
            if events < seen:
                raise ClientError(f"events of {client_id} were let go meanwhile", "run the command again")
            foreign_rollups.replace_day(connection, client_id, day_at, figures)
    return audit.findings


def _days(connection: Connection, client_id: str) -> Iterator[int]:
    """Every day (UTC) of which there are events or figures, in order."""
    after = -(1 << 62)
    while True:
        [event_at] = connection.execute(_FIRST, (client_id, after)).fetchone()
        figure_at = foreign_rollups.first_day(connection, client_id, after)
        firsts = [int(at) // DAY_MS * DAY_MS for at in (event_at, figure_at) if at is not None]
        if not firsts:
            return
        yield min(firsts)
        after = min(firsts) + DAY_MS


def _events(connection: Connection, client_id: str, day_at: int) -> Iterator[Any]:
    """A day's events in order, a page at a time."""
    at, event_seq = day_at, 0
    while True:
        page = connection.execute(_EVENTS, (client_id, day_at + DAY_MS, at, event_seq, _PAGE_ROWS)).fetchall()
        yield from page
        if len(page) < _PAGE_ROWS:
            return
        at, event_seq = page[-1][:2]


def _verify_day(connection: Connection, audit: ForeignAudit, day_at: int, progress: Callable[[int], None]) -> None:
    figures: dict[Key, Tally] = {}
    before = audit.events
    for at, event_seq, metric, station, amount, normalised, raw in _events(connection, audit.client_id, day_at):
        foreign_rollups.count(figures, at, metric, station or "", nano_of(amount))
        _verify_event(connection, audit, event_seq, (metric, station, amount), normalised, raw)
        audit.events += 1
        if audit.events % _PAGE_ROWS == 0:
            progress(audit.events)
    progress(audit.events)
    if audit.missing:
        return
    stored = foreign_rollups.of_day(connection, audit.client_id, day_at)
    for key in sorted(figures.keys() | stored.keys()):
        if _parts(stored.get(key)) != _parts(figures.get(key)):
            audit.wrong_days[day_at] = audit.events - before
            said = f"stored {_said(stored.get(key))}; from the events {_said(figures.get(key))}"
            audit.find("rollup", f"{audit.client_id}, {key}", said)


def _verify_event(
    connection: Connection, audit: ForeignAudit, event_seq: int, columns: tuple[Any, ...], normalised: str, raw: str
) -> None:
    """What came is known as this event, and its columns say what was read of it."""
    where = f"{audit.client_id}, event {event_seq}"
    if identities.find(connection, audit.client_id, raw_identity(read_json(raw.encode()))) != event_seq:
        audit.find("identity", where, "what came is not known as this event: a repetition would count again")
    event = msgspec.json.decode(normalised)
    station = event.get("station")
    read = (folded(event["metric"]), None if station is None else folded(station), event["amount"])
    if read != columns:
        audit.find("event", where, f"its columns say {columns}, what was read of it {read}")


def _verify_failures(connection: Connection, audit: ForeignAudit, last_event: int, last_failed: int) -> None:
    after = 0
    while page := connection.execute(_FAILURES, (audit.client_id, after, _PAGE_ROWS)).fetchall():
        for after, raw, raw_hash, state, event_seq in page:
            audit.failures += 1
            where = f"{audit.client_id}, failure {after}"
            if raw_identity(read_json(raw.encode())) != bytes(raw_hash):
                audit.find("failure", where, "its body is not the one whose hash is stored")
            if (state == "processed") != (event_seq is not None) or (event_seq or 0) > last_event:
                audit.find("failure", where, f"it is {state}, but became event {event_seq}")
    if after > last_failed:
        audit.find("numbers", audit.client_id, f"failure {after} is stored, but only {last_failed} were given a number")


def _parts(tally: Tally | None) -> tuple[Any, ...] | None:
    if tally is None:
        return None
    return tally.count, tally.sum_nano, tally.least_nano, tally.most_nano, tally.sketch.text()


def _said(tally: Tally | None) -> str:
    return "nothing" if tally is None else f"{tally.count} events, sum {from_nano(tally.sum_nano)}"
