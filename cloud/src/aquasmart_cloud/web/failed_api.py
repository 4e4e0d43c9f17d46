"""Failed events: listed, shown with the original, edited and tried again, dismissed with a reason.

People change them; a client may look at its own, and corrects one by sending it right.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services.reprocessing import Reprocessing
from aquasmart_cloud.store import failures, intake, intake_log
from aquasmart_cloud.store.failures import STATES
from aquasmart_cloud.store.foreign_queries import SENDER_ID

from . import asked
from .answers import json_answer
from .bodies import read_body
from .callers import clients, occasion, person, reader
from .failed_documents import failed_document, failed_page, place_of
from .public_api import result_document, status_of
from .services import cloud

MOST_BYTES = 1024 * 1024
LONGEST_REASON = 1_000

blueprint = Blueprint("failed_api", __name__)


@blueprint.get("/api/failed-events")
def list_failed() -> Response:
    """A page of failed events, open ones unless `state` says otherwise."""
    wanted = asked.wanted(reader())
    state = asked.one_of("state", (*STATES, "all"), "open")
    return failed_page(wanted, asked.limit(), "" if state == "all" else state)


@blueprint.get("/api/failed-events/<failed_id>")
def show_failed(failed_id: str) -> Response:
    """One failed event with its original."""
    return json_answer(failed_document(_load(failed_id, reader())))


@blueprint.post("/api/failed-events/<failed_id>/reprocess")
def reprocess(failed_id: str) -> Response:
    """Try it again: as it is, or as `{"event": {…}}` says."""
    by = person()
    place, document = place_of(failed_id, None), _document()
    edited = document.get("event")
    if document.keys() - {"event"} or not isinstance(edited, dict | None):
        raise Refusal("invalid", 'send {} to try it as it is, or {"event": {…}} with the corrected event')
    _load(failed_id, None)
    result = Reprocessing(cloud().database, clients()).one(place, occasion(by), edited)
    return json_answer(result_document(result), status_of(result))


@blueprint.post("/api/failed-events/<failed_id>/dismiss")
def dismiss(failed_id: str) -> Response:
    """Close it without an event: `{"reason": "…"}`."""
    by = person()
    document = _document()
    reason = document.get("reason")
    text = reason.strip() if isinstance(reason, str) and "\0" not in reason else ""
    if document.keys() != {"reason"} or not 1 <= len(text) <= LONGEST_REASON:
        raise Refusal("invalid", f'send {{"reason": …}}, a text of 1 to {LONGEST_REASON} characters')
    intake.dismiss(cloud().database, place_of(failed_id, None), text, occasion(by))
    return json_answer(failed_document(_load(failed_id, None)))


@blueprint.get("/api/clients/<client_id>/log")
def trail(client_id: str) -> Response:
    """A sender's audit trail, newest first."""
    person()
    if not SENDER_ID.fullmatch(client_id):
        raise Refusal("not-found", "there is no such client")
    before = asked.whole("before", (1 << 62), 1 << 62)
    return json_answer({"log": intake_log.trail(cloud().database, client_id, before, asked.limit())})


def _load(failed_id: str, own: str | None) -> failures.Failed:
    found = failures.show(cloud().database, place_of(failed_id, own))
    if found is None:
        raise Refusal("not-found", f"there is no failed event {failed_id[:100]}")
    return found


def _document() -> dict[str, Any]:
    document = read_json(read_body(MOST_BYTES) or b"{}")
    if not isinstance(document, dict):
        raise Refusal("invalid", "an object is wanted")
    return document
