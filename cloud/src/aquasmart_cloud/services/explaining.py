"""What people say of a named difference: why it is there, and that they were wrong.

An explanation changes no count: the difference stays in the books with its amount, who explained it, when and how; it
only no longer keeps them from being in balance, and its alert ends. What the station still sends goes on filling an
explained hole (store.entries).
"""

from __future__ import annotations

from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.store import entries
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.ledger_view import EXPLAINED, OPEN, Entry, load_entry

LONGEST_NOTE = 1_000


class LedgerError(CloudError):
    """A difference that cannot be explained any more, or a note that explains nothing."""


class UnknownDifference(LedgerError):
    """The station has no difference of this number."""


def explain(database: Database, station_id: str, entry_id: int, by: str, note: str, now_ms: int) -> Entry:
    """Say why an open difference is there. Said again, by whomever: the first explanation stands, and is given back.

    Errors: LedgerError for an unknown or closed one, or a note that is none; DatabaseError.
    """
    note = note.strip()
    if not 1 <= len(note) <= LONGEST_NOTE or "\0" in note:
        raise LedgerError(
            f"an explanation has 1 to {LONGEST_NOTE} characters",
            "It is all that will be known later: say what happened.",
        )
    _fit(station_id, entry_id)
    with database.writing(station_id) as connection:
        entries.explain(connection, station_id, entry_id, by, note, now_ms)
        found = load_entry(connection, station_id, entry_id)
    return _in_state(found, EXPLAINED, station_id, entry_id)


def reopen(database: Database, station_id: str, entry_id: int) -> Entry:
    """Take an explanation back; nothing for one that is open. Errors: LedgerError, DatabaseError."""
    _fit(station_id, entry_id)
    with database.writing(station_id) as connection:
        entries.reopen(connection, station_id, entry_id)
        found = load_entry(connection, station_id, entry_id)
    return _in_state(found, OPEN, station_id, entry_id)


def show(database: Database, station_id: str, entry_id: int) -> Entry:
    """One difference. Errors: LedgerError, DatabaseError."""
    _fit(station_id, entry_id)
    with database.reading() as connection:
        found = load_entry(connection, station_id, entry_id)
    return _known(found, station_id, entry_id)


def _fit(station_id: str, entry_id: int) -> None:
    """No database is asked for a number that it cannot hold."""
    if "\0" in station_id or not 0 < entry_id < 1 << 53:
        _known(None, station_id, entry_id)


def _known(found: Entry | None, station_id: str, entry_id: int) -> Entry:
    if found is None:
        raise UnknownDifference(
            f"{station_id} has no difference {entry_id}", f"'aquasmart-cloud ledger show {station_id}' lists them"
        )
    return found


def _in_state(found: Entry | None, state: str, station_id: str, entry_id: int) -> Entry:
    entry = _known(found, station_id, entry_id)
    if entry.state != state:
        raise LedgerError(f"difference {entry_id} of {station_id} is {entry.state}, by {entry.closed_by}")
    return entry
