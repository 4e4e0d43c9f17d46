"""What other systems and dashboards ask about foreign events and the fleet: figures, health, settings of clients.

Views only; figures come from rollups, never from events.
"""

from __future__ import annotations

from flask import Blueprint, Response

from aquasmart_cloud import __version__
from aquasmart_cloud.core.errors import ClientError
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import aggregations, failures, foreign_queries
from aquasmart_cloud.store.aggregations import GROUPS, TIMES, Question
from aquasmart_cloud.store.migrating import current_revision, newest_revision

from . import asked
from .answers import json_answer
from .bodies import read_body
from .callers import clients, person, reader
from .openapi import DOCUMENT
from .services import cloud

MOST_BYTES = 256 * 1024

blueprint = Blueprint("query_api", __name__)


@blueprint.get("/api/openapi.json")
def openapi() -> Response:
    """The description of this interface. Open to anyone: it holds no data."""
    return json_answer(DOCUMENT)


@blueprint.get("/api/health")
def health() -> Response:
    """Whether events can be taken now. Open to anyone, without figures; 503 where not."""
    ready = current_revision(cloud().database) == newest_revision()
    if not ready:
        raise Refusal("unavailable", "the database is not migrated", retry_after_s=5)
    return json_answer({"status": "ok", "database": "ok", "version": __version__})


@blueprint.get("/api/aggregations")
def aggregate() -> Response:
    """Count, sum, least, most, mean and percentiles, by the groups asked for."""
    own = reader()
    wanted = asked.wanted(own)
    question = Question(wanted, _groups())
    if asked.of_stations():
        if own is not None:
            raise Refusal("forbidden", "a client sees figures of its own events only")
        return json_answer({"of": "stations", "groups": aggregations.of_stations(cloud().database, question)})
    return json_answer({"of": "events", "groups": aggregations.of_events(cloud().database, question)})


def _groups() -> tuple[str, ...]:
    """The query's `group_by`, a list with commas. Errors: Refusal invalid."""
    text = asked.text("group_by")
    groups = () if text is None else tuple(each.strip() for each in text.split(","))
    if set(groups) - set(GROUPS) or len(set(groups)) < len(groups):
        raise asked.wrong("group_by", f"a list of {', '.join(GROUPS)}, each once")
    if len(set(groups) & set(TIMES)) > 1:
        raise asked.wrong("group_by", f"at most one of {', '.join(TIMES)}")
    return groups


@blueprint.get("/api/stats")
def stats() -> Response:
    """How many events each sender has had processed, and what waits to be looked at."""
    own = reader()
    processed, failed = foreign_queries.senders(cloud().database), failures.counts(cloud().database)
    rows = [
        {
            "client_id": client_id,
            "processed": number,
            "failed": {state: failed.get(client_id, {}).get(state, 0) for state in failures.STATES},
        }
        for client_id, number in processed.items()
        if own in (None, client_id)
    ]
    open_failures = sum(row["failed"]["open"] for row in rows)  # type: ignore[index]
    total = sum(processed[str(row["client_id"])] for row in rows)
    return json_answer({"processed": total, "failed_open": open_failures, "clients": rows})


@blueprint.get("/api/clients")
def list_clients() -> Response:
    """Every client with its settings."""
    person()
    return json_answer({"clients": [each.document() for each in clients().all()]})


@blueprint.patch("/api/clients/<client_id>")
def change_client(client_id: str) -> Response:
    """Change how a client's events are read, or its limits; acts on its next request."""
    person()
    changes = read_json(read_body(MOST_BYTES))
    if not isinstance(changes, dict):
        raise Refusal("invalid", "an object is wanted")
    try:
        clients().show(client_id)
    except ClientError as error:
        raise Refusal("not-found", str(error)) from error
    try:
        return json_answer(clients().change(client_id, changes).document())
    except ClientError as error:
        raise Refusal("invalid", str(error)) from error
