"""A station's ledger for programs: what it adds up to, its named differences, what is booked; and why one is there.

Views only. People see and explain; clients of the intake have no business here.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services import explaining
from aquasmart_cloud.services.explaining import LedgerError, UnknownDifference
from aquasmart_cloud.store import ledger_view
from aquasmart_cloud.store.foreign_queries import SENDER_ID
from aquasmart_cloud.store.ledger_view import STATES, Place

from . import asked
from .answers import json_answer
from .bodies import read_body
from .callers import person
from .services import cloud

MOST_BYTES = 64 * 1024
DIFFERENCES, INTERVALS = "differences", "intervals"
_CHOICES = {"all": STATES} | {state: (state,) for state in STATES}

blueprint = Blueprint("ledger_api", __name__)


@blueprint.get("/api/stations/<station_id>/ledger")
def show_ledger(station_id: str) -> Response:
    """The balance, and a page of differences in the order they were named, or of booked stretches."""
    person()
    listed = asked.one_of("list", (DIFFERENCES, INTERVALS), DIFFERENCES)
    states = _CHOICES[asked.one_of("state", tuple(_CHOICES), "all")]
    cursor, limit = asked.text("after"), asked.limit()
    balance = ledger_view.read_balance(cloud().database, station_id) if SENDER_ID.fullmatch(station_id) else None
    if balance is None:
        raise Refusal("not-found", f"this cloud knows no station {station_id[:100]}")
    page = _intervals(station_id, cursor, limit) if listed == INTERVALS else _entries(station_id, states, cursor, limit)
    return json_answer({"station_id": station_id, **balance.document(), "list": listed, **page})


@blueprint.post("/api/stations/<station_id>/ledger/<int:entry_id>/explain")
def explain(station_id: str, entry_id: int) -> Response:
    """Somebody knows why it is there: `{"note": "…"}`."""
    by, note = person(), _note()
    try:
        found = explaining.explain(cloud().database, station_id, entry_id, by, note, cloud().clock_ms())
    except LedgerError as error:
        raise refusal_of(error) from error
    return json_answer(found.document())


@blueprint.post("/api/stations/<station_id>/ledger/<int:entry_id>/reopen")
def reopen(station_id: str, entry_id: int) -> Response:
    """The explanation was wrong."""
    person()
    try:
        return json_answer(explaining.reopen(cloud().database, station_id, entry_id).document())
    except LedgerError as error:
        raise refusal_of(error) from error


def refusal_of(error: LedgerError) -> Refusal:
    """What the one who asked is told."""
    if isinstance(error, UnknownDifference):
        return Refusal("not-found", f"{error}")
    return Refusal("invalid", f"{error}. {error.hint}".strip())


def _entries(station_id: str, states: tuple[str, ...], cursor: str | None, limit: int) -> dict[str, Any]:
    after = 0 if cursor is None else _number(cursor)
    found = ledger_view.read_entries(cloud().database, station_id, states, after, limit)
    following = f"{found[-1].entry_id}" if len(found) == limit else None
    return {"items": [each.document() for each in found], "next": following}


def _intervals(station_id: str, cursor: str | None, limit: int) -> dict[str, Any]:
    after = None if cursor is None else Place.of_text(cursor)
    if cursor is not None and after is None:
        raise _no_cursor()
    found = ledger_view.read_intervals(cloud().database, station_id, after, limit)
    following = found[-1].place.text() if len(found) == limit else None
    return {"items": [each.document() for each in found], "next": following}


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise _no_cursor()
    return int(cursor)


def _no_cursor() -> Refusal:
    return asked.wrong("after", "this is no cursor; use the 'next' of the page before")


def _note() -> str:
    document = read_json(read_body(MOST_BYTES))
    note = document.get("note") if isinstance(document, dict) else None
    if not isinstance(note, str) or not isinstance(document, dict) or document.keys() != {"note"}:
        raise Refusal("invalid", f'send {{"note": …}}, a text of 1 to {explaining.LONGEST_NOTE} characters')
    return note
