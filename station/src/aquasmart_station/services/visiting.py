"""A service visit: who came, when, what was done; told to the cloud as operations that share a visit's id.

The visit under way is the latest `service_visit` operation that began one and that none has ended: it stands in
ops.db like everything else, so that a power cut in the middle of a visit forgets nothing.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

from ..adapters import operation_rows
from ..core.errors import BadOperation
from ..core.operations import parameters_of
from ..core.phrases import Phrase

SERVICE_VISIT = "service_visit"
WIRE_TEXT = 200
"""The longest text on the wire, in characters: a longer one would be refused when the technician has gone."""


@dataclass(frozen=True, slots=True)
class Visit:
    id: str
    technician: str
    started_at_ms: int


def under_way(connection: sqlite3.Connection) -> Visit | None:
    """The visit that has begun and not ended."""
    ended: set[object] = set()
    for operation in reversed(operation_rows.of_type(connection, SERVICE_VISIT)):
        try:
            said = parameters_of(operation.parameters)
        except BadOperation:
            continue  # a damaged row says nothing of any visit
        if said.get("phase") == "end":
            ended.add(said.get("visit"))
        elif said.get("phase") == "start" and said.get("visit") not in ended:
            return Visit(str(said["visit"]), str(said["technician"]), int(said["visited_at_ms"]))
    return None


def start(connection: sqlite3.Connection, technician: str, note: str, now_ms: int) -> tuple[int, Visit]:
    """Begin a visit; the operation's number. Raises BadOperation while another one is under way."""
    present = under_way(connection)
    if present is not None:
        raise BadOperation(
            Phrase("{technician}'s visit has not ended", technician=present.technician),
            hint=Phrase("`aquasmart visit end` first. Nothing was changed."),
        )
    visit = Visit(str(uuid.uuid4()), technician, now_ms)
    return _tell(connection, visit, "start", note or "visit begins", now_ms, {}), visit


def end(connection: sqlite3.Connection, note: str, now_ms: int) -> tuple[int, Visit]:
    """End the visit under way. Raises BadOperation where there is none."""
    visit = under_way(connection)
    if visit is None:
        raise BadOperation(
            Phrase("no visit is under way"), hint=Phrase("`aquasmart visit start --technician NAME` begins one.")
        )
    more = {"started_at_ms": visit.started_at_ms}
    return _tell(connection, visit, "end", note or "visit ends", now_ms, more), visit


def note(connection: sqlite3.Connection, text: str, now_ms: int) -> tuple[int, Visit]:
    """Note something during the visit under way. Raises BadOperation where there is none."""
    visit = under_way(connection)
    if visit is None:
        raise BadOperation(
            Phrase("no visit is under way"), hint=Phrase("`aquasmart visit start --technician NAME` begins one.")
        )
    return _tell(connection, visit, "note", text, now_ms, {}), visit


def _tell(
    connection: sqlite3.Connection, visit: Visit, phase: str, text: str, now_ms: int, more: dict[str, Any]
) -> int:
    if len(text) > WIRE_TEXT or len(visit.technician) > WIRE_TEXT:
        words = Phrase("a note has at most {most} characters, this one {n}", most=WIRE_TEXT, n=len(text))
        raise BadOperation(words, hint=Phrase("Make two of it: nothing was queued."))
    said = {"technician": visit.technician, "note": text, "visited_at_ms": now_ms, "visit": visit.id, "phase": phase}
    return operation_rows.enqueue(connection, SERVICE_VISIT, said | more, now_ms)
