"""The intake transaction of foreign events: known, new, conflicting or unreadable, all of a request or nothing.

The one writer of `foreign_event` and `intake`; identities, failures, rollups and the trail are written through
their own modules, in the same transaction. Normalisation happens before it; only SQL is inside.

Why nothing is counted twice. A sender's first statement locks its row of `intake`, so its transactions follow each
other, in one process or in many. Under that lock an event is stored only where none of its identities is known,
and its identities are stored with it. A crash before the commit leaves neither; after it, both, and the
repetition finds them. Why nothing is lost: an event that is not stored is answered with 503, or is kept as failed.

Everything here belongs to one sender, which each transaction names: on PostgreSQL senders do not wait for each other
(docs/decisions/0040). One that is a station takes the station's row first, as its telemetry does: they share a trail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aquasmart_cloud.core.identity import folded, raw_identity
from aquasmart_cloud.core.normalising.amounts import amount_text
from aquasmart_cloud.core.normalising.event import Normalised
from aquasmart_cloud.core.normalising.incoming import ID_CONFLICT, NOT_NORMALISED, Incoming
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal

from . import failures, foreign_rollups, identities, retries
from .connection import Connection
from .database import Database
from .failures import Failed, Reason, failed_id
from .intake_log import Occasion, note

PROCESSED, DUPLICATE, FAILED = "processed", "duplicate", "failed"

_LOCK = (
    "INSERT INTO intake (client_id, last_event, last_failed) VALUES (?, 0, 0)"
    " ON CONFLICT (client_id) DO UPDATE SET client_id = excluded.client_id"
)
_LAST = "SELECT last_event, last_failed FROM intake WHERE client_id = ?"
_SET_LAST = "UPDATE intake SET last_event = ?, last_failed = ? WHERE client_id = ?"
_ADD = (
    "INSERT INTO foreign_event (client_id, event_seq, event_id, metric, station, at, amount, normalised, warnings,"
    " normaliser, raw, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FIRST = "SELECT event_id, normalised, warnings, received_at FROM foreign_event WHERE client_id = ? AND event_seq = ?"
_CURRENT = "UPDATE foreign_event SET normaliser = ? WHERE client_id = ? AND event_seq = ?"
_ID_TAKEN = {"where": "id", "what": "is that of another event with other content; that one stays"}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event. `event_id` is the event's, or the failure's; `event` the normalised first one."""

    status: str
    event_id: str
    warnings: list[str] = field(default_factory=list)
    event: dict[str, Any] | None = None
    received_at: int | None = None
    code: str = ""
    errors: list[dict[str, str]] = field(default_factory=list)


def take(database: Database, client_id: str, events: Sequence[Incoming], occasion: Occasion) -> list[Result]:
    """Take a request's events, in order, in one transaction. Errors: DatabaseError, nothing stored.

    A request of repetitions only needs no transaction: what is known once is known for ever.
    """
    with database.reading() as connection:
        known = [identities.find(connection, client_id, each.raw_hash) for each in events]
        if None not in known:
            return [first(connection, client_id, seq or 0, each) for seq, each in zip(known, events, strict=True)]

    def work(connection: Connection) -> list[Result]:
        book = Book(connection, client_id, occasion)
        results = [book.take(each) for each in events]
        book.close("foreign-events")
        return results

    return database.write(work, client_id)


def retry(
    database: Database,
    place: tuple[str, int],
    judge: Callable[[Failed], Incoming],
    occasion: Occasion,
    edited: str | None = None,
) -> Result:
    """Try an open failure again, as `judge` reads it now. Errors: DatabaseError; Refusal not-found, closed."""
    with database.writing(place[0]) as connection:
        book = Book(connection, place[0], occasion)
        failure = _open_failure(connection, place)
        result = book.retry(failure, judge(failure), edited or failure.edited)
        said = {"failed_event": failure.failed_id, "became": result.status, "event_id": result.event_id}
        book.close("failed-event-edited" if edited else "failed-event-reprocessed", said)
    return result


def dismiss(database: Database, place: tuple[str, int], reason: str, occasion: Occasion) -> None:
    """Close an open failure without an event. Errors: DatabaseError; Refusal not-found, closed."""
    with database.writing(place[0]) as connection:
        book = Book(connection, place[0], occasion)
        failure = _open_failure(connection, place)
        end = failures.End(failures.DISMISSED, occasion.now_ms, occasion.by, reason, None, failure.edited)
        failures.close(connection, place, end)
        retries.drop(connection, place)
        book.close("failed-event-dismissed", {"failed_event": failure.failed_id, "reason": reason})


def known_by_new_version(
    database: Database, client_id: str, judged: Sequence[tuple[int, Incoming]], occasion: Occasion
) -> None:
    """Events of an older normaliser are known by what this one makes of them too. Their values stay the first ones."""
    with database.writing(client_id) as connection:
        Book(connection, client_id, occasion)
        for event_seq, came in judged:
            identities.remember(connection, client_id, event_seq, came.id_hash, came.content_hash)
            connection.execute(_CURRENT, (came.version, client_id, event_seq))


def first(connection: Connection, client_id: str, event_seq: int, came: Incoming) -> Result:
    """The first result of a known event; retention may have taken the event, never the knowledge of it."""
    row = connection.execute(_FIRST, (client_id, event_seq)).fetchone()
    if row is None:
        return Result(DUPLICATE, came.event_id)
    event_id, normalised, warnings, received_at = row
    return Result(DUPLICATE, event_id, msgspec.json.decode(warnings), msgspec.json.decode(normalised), received_at)


def lock(connection: Connection, client_id: str) -> None:
    """Let no other transaction of this sender go on before this one's end. The first statement of each of them."""
    connection.execute(_LOCK, (client_id,))


def _open_failure(connection: Connection, place: tuple[str, int]) -> Failed:
    failure = failures.load(connection, place)
    if failure is None:
        raise Refusal("not-found", f"there is no failed event {failed_id(*place)}")
    if failure.state != failures.OPEN:
        raise Refusal("already-closed", f"failed event {failure.failed_id} is {failure.state} already")
    return failure


class Book:
    """One sender's events within one transaction: locked when made, its numbers written by `close`."""

    def __init__(self, connection: Connection, client_id: str, occasion: Occasion) -> None:
        self.connection, self.client_id, self.occasion = connection, client_id, occasion
        lock(connection, client_id)
        self._last_event, self._last_failed = connection.execute(_LAST, (client_id,)).fetchone()
        self._added: list[Normalised] = []
        self._failed: list[str] = []

    def take(self, came: Incoming) -> Result:
        """One event: known already, new, or failed."""
        known = self._find(came.raw_hash)
        if known is not None:
            return first(self.connection, self.client_id, known, came)
        event_seq, result = self._settle(came)
        if event_seq is None:
            return self._fail(came, Reason(result.code, result.errors))
        former = failures.by_raw(self.connection, self.client_id, came.raw_hash)
        if former is not None:
            # It could not be read before and now can be: the failure is over.
            self._end(former[0], event_seq, None)
        return result

    def retry(self, failure: Failed, came: Incoming, edited: str | None) -> Result:
        """A failure again, perhaps edited. What came first is known as the event too: its sender may repeat it."""
        event_seq, result = self._settle(came)
        if event_seq is None:
            why = Reason(result.code, result.errors)
            failures.keep_open(self.connection, (self.client_id, failure.failed_seq), edited, came, why)
            self._try_later(failure.failed_seq, why)
            return self._failure(failure.failed_seq, came, why)
        original = raw_identity(read_json(failure.raw.encode()))
        identities.remember(self.connection, self.client_id, event_seq, original)
        self._end(failure.failed_seq, event_seq, edited)
        return result

    def _end(self, failed_seq: int, event_seq: int, edited: str | None) -> None:
        now_ms, by = self.occasion.now_ms, self.occasion.by
        end = failures.End(failures.PROCESSED, now_ms, by, None, event_seq, edited)
        failures.close(self.connection, (self.client_id, failed_seq), end)
        retries.drop(self.connection, (self.client_id, failed_seq))

    def _try_later(self, failed_seq: int, why: Reason) -> None:
        """What we could not read is tried again by itself; what its sender got wrong is for people."""
        place = (self.client_id, failed_seq)
        if why.code == NOT_NORMALISED:
            retries.tried(self.connection, place, self.occasion.now_ms)
        else:
            retries.drop(self.connection, place)

    def close(self, action: str, detail: dict[str, Any] | None = None) -> None:
        """Write the sender's numbers, the rollups of what is new, and the trail. Nothing where nothing is new."""
        if not (self._added or self._failed or detail):
            return
        self.connection.execute(_SET_LAST, (self._last_event, self._last_failed, self.client_id))
        foreign_rollups.add(self.connection, self.client_id, self._added)
        counted = {"processed": len(self._added), "failed": self._failed[:100]}
        note(self.connection, self.client_id, self.occasion, action, counted | (detail or {}))

    def _settle(self, came: Incoming) -> tuple[int | None, Result]:
        """Store an event unless it is known; (its number, the result), or (None, why not)."""
        if not isinstance(came.outcome, Normalised):
            errors = [fault.document() for fault in came.outcome.faults]
            return None, Result(FAILED, "", code=came.code, errors=errors)
        same = self._find(came.content_hash)
        if same is not None:
            return same, first(self.connection, self.client_id, same, came)
        if self._find(came.id_hash) is not None:
            return None, Result(FAILED, "", code=ID_CONFLICT, errors=[_ID_TAKEN])
        return self._add(came, came.outcome)

    def _find(self, identity: bytes | None) -> int | None:
        return None if identity is None else identities.find(self.connection, self.client_id, identity)

    def _add(self, came: Incoming, event: Normalised) -> tuple[int, Result]:
        self._last_event += 1
        document, warnings = event.document(), list(event.warnings)
        row = (
            self.client_id,
            self._last_event,
            came.event_id,
            folded(event.metric),
            None if event.station is None else folded(event.station),
            event.at_ms,
            amount_text(event.amount),
            msgspec.json.encode(document).decode(),
            msgspec.json.encode(warnings).decode(),
            came.version,
            came.raw,
            self.occasion.now_ms,
        )
        self.connection.execute(_ADD, row)
        known_by = (came.raw_hash, came.id_hash, came.content_hash)
        identities.remember(self.connection, self.client_id, self._last_event, *known_by)
        self._added.append(event)
        return self._last_event, Result(PROCESSED, came.event_id, warnings, document, self.occasion.now_ms)

    def _fail(self, came: Incoming, why: Reason) -> Result:
        former = failures.by_raw(self.connection, self.client_id, came.raw_hash)
        if former is not None:
            return self._failure(former[0], came, why)
        self._last_failed += 1
        failures.add(self.connection, self.client_id, self._last_failed, came, why, self.occasion.now_ms)
        if why.code == NOT_NORMALISED:
            self._try_later(self._last_failed, why)
        self._failed.append(failed_id(self.client_id, self._last_failed))
        return self._failure(self._last_failed, came, why)

    def _failure(self, failed_seq: int, came: Incoming, why: Reason) -> Result:
        warnings = list(came.outcome.warnings)
        return Result(FAILED, failed_id(self.client_id, failed_seq), warnings, code=why.code, errors=why.errors)
