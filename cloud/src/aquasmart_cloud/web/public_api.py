"""What other systems ask: foreign events in, whatever their form, and the same events out (docs/integrator.md).

Views only: who asks is `web.callers`, what an event means is core.normalising, the transaction is store.intake.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec
from flask import Blueprint, Response

from aquasmart_cloud.core.normalising.incoming import ID_CONFLICT, incoming
from aquasmart_cloud.core.normalising.reading import read_events
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services import mistakes
from aquasmart_cloud.store import foreign_queries, intake, station_events
from aquasmart_cloud.store.foreign_queries import SENDER_ID, Place, Wanted
from aquasmart_cloud.store.intake import DUPLICATE, FAILED, PROCESSED, Result
from aquasmart_cloud.store.station_events import Mark, Span

from . import asked, exports
from .answers import json_answer, trace_id
from .callers import occasion, reader, sender
from .failed_documents import failed_page
from .services import cloud

blueprint = Blueprint("public_api", __name__)


@blueprint.post("/api/events")
def send_events() -> Response:
    """One foreign event or many: all that a request holds is taken in one transaction, or nothing of it."""
    caller = sender()
    events, single = read_events(caller.body, caller.most_events)
    judged = [incoming(event, caller.rules) for event in events]
    mistakes.report(judged, trace_id())
    results = intake.take(cloud().database, caller.client_id, judged, occasion(caller.by))
    documents = [result_document(result) for result in results]
    if single:
        return json_answer(documents[0] | {"trace_id": trace_id()}, status_of(results[0]))
    counted = {
        name: sum(each.status == status for each in results)
        for name, status in (("processed", PROCESSED), ("duplicates", DUPLICATE), ("failed", FAILED))
    }
    return json_answer({"events": documents, **counted, "trace_id": trace_id()}, status_of_all(results))


def result_document(result: Result) -> dict[str, Any]:
    """What a sender is told of one event."""
    document: dict[str, Any] = {
        "status": result.status,
        "event_id": result.event_id,
        "warnings": result.warnings,
    }
    if result.status == FAILED:
        return document | {"code": result.code, "errors": result.errors}
    return document | {"event": result.event, "received_at": result.received_at}


def status_of(result: Result) -> int:
    """201 new, 200 known already, 409 the id of another event, 422 not readable."""
    if result.status == FAILED:
        return 409 if result.code == ID_CONFLICT else 422
    return 201 if result.status == PROCESSED else 200


def status_of_all(results: Sequence[Result]) -> int:
    """That of each where they agree; 201 for new among known ones; 207 where some failed and others did not."""
    statuses = {status_of(each) for each in results}
    if len(statuses) == 1:
        return statuses.pop()
    if statuses <= {200, 201}:
        return 201
    return 422 if statuses <= {409, 422} else 207


@blueprint.get("/api/events")
def list_events() -> Response:
    """A page of events: processed ones, or with `status=failed` those that failed."""
    own, database = reader(), cloud().database
    wanted, limit = asked.wanted(own), asked.limit()
    if asked.of_stations():
        return _station_page(own, wanted, limit)
    if asked.status() == "failed":
        return failed_page(wanted, limit, "open")
    cursor = asked.text("after")
    after = None if cursor is None else Place.of_text(cursor)
    if cursor is not None and after is None:
        raise asked.wrong("after", "this is no cursor; use the 'next' of the page before")
    found = foreign_queries.page(database, wanted, after, limit)
    following = foreign_queries.place_of(found[-1]).text() if len(found) == limit else None
    return json_answer({"events": found, "next": following})


@blueprint.get("/api/events.<extension>")
def export_events(extension: str) -> Response:
    """All events wanted, as a stream: csv, jsonl or parquet."""
    own = reader()
    wanted = asked.wanted(own)
    if asked.of_stations():
        rows = (event for event, _ in station_events.events(cloud().database, _span(own, wanted)))
        return exports.answer(extension, rows, "station-events", exports.STATION_COLUMNS)
    return exports.answer(extension, foreign_queries.every(cloud().database, wanted), "events", exports.COLUMNS)


def _station_page(own: str | None, wanted: Wanted, limit: int) -> Response:
    """A page of what the stations counted, from their batches."""
    cursor = asked.text("after")
    after = None if cursor is None else Mark.of_text(cursor)
    if cursor is not None and after is None:
        raise asked.wrong("after", "this is no cursor; use the 'next' of the page before")
    found = list(islice(station_events.events(cloud().database, _span(own, wanted), after), limit))
    following = found[-1][1].text() if len(found) == limit else None
    return json_answer({"events": [event for event, _ in found], "next": following})


def _span(own: str | None, wanted: Wanted) -> Span:
    if own is not None:
        raise Refusal("forbidden", "a client sees its own events only")
    if wanted.client_id is not None or wanted.metric is not None:
        raise asked.wrong("of", "stations' events have no client and no metric; filter by station and time")
    return Span(wanted.station, wanted.from_ms, wanted.to_ms)


@blueprint.get("/api/events/<client_id>/<int:event_seq>")
def show_event(client_id: str, event_seq: int) -> Response:
    """One event with what came."""
    own, found = reader(), None
    if own in (None, client_id) and SENDER_ID.fullmatch(client_id) and event_seq < 1 << 63:
        found = foreign_queries.one(cloud().database, client_id, event_seq)
    if found is None:
        raise Refusal("not-found", "there is no such event")
    event, original = found
    return json_answer(event | {"original": msgspec.Raw(original.encode())})
