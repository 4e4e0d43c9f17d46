"""The description of the public interface (OpenAPI 3.1), served at /api/openapi.json and held against it by tests.

Data only. What a route does is described where it is; here is what it takes and gives.
"""

from __future__ import annotations

from aquasmart_cloud import __version__
from aquasmart_cloud.core.normalising.reading import MAX_EVENTS
from aquasmart_cloud.core.problems import TYPE_PREFIX
from aquasmart_cloud.store.aggregations import GROUPS
from aquasmart_cloud.store.failures import STATES

from .openapi_alerts import ALERT_PATHS, ALERT_SCHEMAS
from .openapi_forms import (
    MS,
    MS_OR_NULL,
    NAME,
    PAGES,
    PERSON,
    PROBLEM,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    answers,
    body,
    list_of,
    object_of,
    path,
    query,
    ref,
)
from .openapi_ledger import LEDGER_PATHS, LEDGER_SCHEMAS
from .openapi_updates import STATION_SCHEME, UPDATE_PATHS, UPDATE_SCHEMAS

_AMOUNT: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$", "description": "an exact decimal"}
_WARNINGS: Schema = {"type": "array", "items": TEXT}
_ANY_OBJECT: Schema = {"type": "object"}


_FAULTS = list_of(object_of(where=TEXT, what=TEXT))
_SCHEMAS: Schema = {
    **ALERT_SCHEMAS,
    **LEDGER_SCHEMAS,
    **UPDATE_SCHEMAS,
    "Problem": object_of(
        type={"type": "string", "pattern": f"^{TYPE_PREFIX}"},
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        code=TEXT,
        trace_id=TEXT,
        server_time=MS,
        errors=_FAULTS,
    ),
    "Normalised": object_of(
        id=TEXT_OR_NULL, source=TEXT, metric=TEXT, amount=_AMOUNT, timestamp=TEXT, station=TEXT_OR_NULL
    ),
    "Taken": object_of(
        ("trace_id",),
        status={"enum": ["processed", "duplicate"]},
        event_id=TEXT,
        warnings=_WARNINGS,
        event={"oneOf": [ref("Normalised"), {"type": "null"}]},
        received_at=MS_OR_NULL,
        trace_id=TEXT,
    ),
    "NotTaken": object_of(
        ("trace_id",),
        status={"const": "failed"},
        event_id=TEXT,
        warnings=_WARNINGS,
        code={"enum": ["invalid", "id-conflict", "not-normalised"]},
        errors=_FAULTS,
        trace_id=TEXT,
    ),
    "Results": object_of(
        events=list_of({"oneOf": [ref("Taken"), ref("NotTaken")]}),
        processed={"type": "integer"},
        duplicates={"type": "integer"},
        failed={"type": "integer"},
        trace_id=TEXT,
    ),
    "Event": object_of(
        ("original",),
        client_id=TEXT,
        event_id=TEXT,
        status={"const": "processed"},
        id=TEXT_OR_NULL,
        source=TEXT,
        metric=TEXT,
        amount=_AMOUNT,
        timestamp=TEXT,
        station=TEXT_OR_NULL,
        warnings=_WARNINGS,
        at=MS,
        received_at=MS,
        normaliser={"type": "integer"},
        event_seq={"type": "integer"},
        original={},
    ),
    "StationEvent": object_of(
        station_id=TEXT,
        meter_id=TEXT_OR_NULL,
        event_id=TEXT,
        stream=TEXT,
        **{name: {"type": "integer"} for name in ("seq", "seqs", "at", "flags", "counts", "volume_ul")},
        kind=TEXT,
        data={},
    ),
    "FailedEvent": object_of(
        event_id=TEXT,
        client_id=TEXT,
        status={"const": "failed"},
        state={"enum": list(STATES)},
        code=TEXT,
        errors=_FAULTS,
        warnings=_WARNINGS,
        original={},
        edited={},
        normaliser={"type": "integer"},
        received_at=MS,
        closed_at=MS_OR_NULL,
        closed_by=TEXT_OR_NULL,
        reason=TEXT_OR_NULL,
        event_seq=MS_OR_NULL,
    ),
    "Group": object_of(
        ("min", "max", "mean", "p50", "p90", "p99"),
        count={"type": "integer"},
        sum=_AMOUNT,
        min=_AMOUNT,
        max=_AMOUNT,
        mean=_AMOUNT,
        p50=_AMOUNT,
        p90=_AMOUNT,
        p99=_AMOUNT,
    ),
}

_WHEN: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["2024-03-01", "1709288100000"]}
_FILTERS = [
    query("client", {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}, "of this sender only"),
    query("metric", NAME, "of this metric only, in any case"),
    query("station", NAME, "of this station only"),
    query("from", _WHEN, "not before this time"),
    query("to", _WHEN, "before this time"),
]

_OF = query("of", {"enum": ["events", "stations"]}, "stations: what they counted themselves; for people")


def _page(items: Schema) -> Schema:
    return object_of(events=list_of(items), next=TEXT_OR_NULL)


def _result(schema: Schema, description: str) -> Schema:
    """A result of the intake; the same statuses may also be refusals of the whole request."""
    return {"description": description, "content": {"application/json": {"schema": schema}} | PROBLEM}


_ONE_OR_MANY = {"oneOf": [ref("Taken"), ref("NotTaken"), ref("Results")]}
_SENT = {
    "201": _result(_ONE_OR_MANY, "stored; of many, at least one is new and none failed"),
    "200": _result(_ONE_OR_MANY, "known already: the first result"),
    "207": _result(ref("Results"), "some failed, others did not: each has its own status"),
    "409": _result(_ONE_OR_MANY, "the id is that of another event; kept as failed"),
    "422": _result(_ONE_OR_MANY, "cannot be read; kept as failed, with every error"),
}
_EVENTS = {"oneOf": [_ANY_OBJECT, {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": {}}]}
_FAILED_ID = {"type": "string", "pattern": r"^[a-z0-9_-]{1,64}\.[0-9]{1,18}$"}

DOCUMENT: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "AquaSmart",
        "version": __version__,
        "description": "Events of other systems, in whatever format they have: docs/integrator.md.",
    },
    "security": [{"client": []}, {"person": []}],
    "paths": {
        **ALERT_PATHS,
        **LEDGER_PATHS,
        **UPDATE_PATHS,
        "/api/events": {
            "post": {
                "operationId": "sendEvents",
                "summary": "One event or many; all of a request is stored, or nothing of it",
                "requestBody": body(_EVENTS),
                "responses": answers(None) | _SENT,
            },
            "get": {
                "operationId": "listEvents",
                "summary": "A page of events, sender by sender in order of time",
                "parameters": [
                    *_FILTERS,
                    *PAGES,
                    query("status", {"enum": ["processed", "failed"]}, "failed ones instead"),
                    _OF,
                ],
                "responses": answers(_page({"anyOf": [ref("Event"), ref("FailedEvent"), ref("StationEvent")]})),
            },
        },
        "/api/events.csv": {
            "get": {
                "operationId": "exportCsv",
                "summary": "Every event wanted, as a stream; .jsonl and .parquet beside it",
                "parameters": [*_FILTERS, _OF],
                "responses": answers(None, media="text/csv"),
            }
        },
        "/api/events.jsonl": {
            "get": {
                "operationId": "exportJsonLines",
                "summary": "One event a line",
                "parameters": [*_FILTERS, _OF],
                "responses": answers(None, media="application/x-ndjson"),
            }
        },
        "/api/events/{client_id}/{event_seq}": {
            "get": {
                "operationId": "showEvent",
                "summary": "One event with its original",
                "parameters": [path("client_id"), path("event_seq", {"type": "integer", "minimum": 1})],
                "responses": answers(ref("Event")),
            }
        },
        "/api/failed-events": {
            "get": {
                "operationId": "listFailed",
                "summary": "Events that could not be read; from and to are of their arrival",
                "parameters": [
                    *(each for each in _FILTERS if each["name"] not in {"metric", "station"}),
                    *PAGES,
                    query("state", {"enum": [*STATES, "all"]}, "open ones by default"),
                ],
                "responses": answers(_page(ref("FailedEvent"))),
            }
        },
        "/api/failed-events/{failed_id}": {
            "get": {
                "operationId": "showFailed",
                "summary": "One of them with its original",
                "parameters": [path("failed_id", _FAILED_ID)],
                "responses": answers(ref("FailedEvent")),
            }
        },
        "/api/failed-events/{failed_id}/reprocess": {
            "post": {
                "operationId": "reprocess",
                "summary": "Try it again, as it is or corrected",
                "parameters": [path("failed_id", _FAILED_ID)],
                "security": PERSON,
                "requestBody": body(object_of(("event",), event=_ANY_OBJECT) | {"additionalProperties": False}),
                "responses": answers(None) | _SENT,
            }
        },
        "/api/failed-events/{failed_id}/dismiss": {
            "post": {
                "operationId": "dismiss",
                "summary": "Close it without an event",
                "parameters": [path("failed_id", _FAILED_ID)],
                "security": PERSON,
                "requestBody": body(object_of(reason={"type": "string", "minLength": 1, "maxLength": 1000})),
                "responses": answers(ref("FailedEvent"))
                | {"409": {"description": "closed already", "content": PROBLEM}},
            }
        },
        "/api/aggregations": {
            "get": {
                "operationId": "aggregate",
                "summary": "Figures from rollups: exact sums, percentiles within 0.4 %",
                "parameters": [
                    *_FILTERS,
                    query("group_by", TEXT, f"a list with commas of {', '.join(GROUPS)}; at most one time"),
                    _OF,
                ],
                "responses": answers(object_of(of=TEXT, groups=list_of(ref("Group")))),
            }
        },
        "/api/stats": {
            "get": {
                "operationId": "stats",
                "summary": "How many were processed, and what waits to be looked at",
                "responses": answers(
                    object_of(
                        processed={"type": "integer"}, failed_open={"type": "integer"}, clients=list_of(_ANY_OBJECT)
                    )
                ),
            }
        },
        "/api/health": {
            "get": {
                "operationId": "health",
                "summary": "Whether events can be taken now",
                "security": [],
                "responses": answers(object_of(status={"const": "ok"}, database={"const": "ok"}, version=TEXT)),
            }
        },
        "/api/clients": {
            "get": {
                "operationId": "listClients",
                "summary": "Every client with its settings, never its token",
                "security": PERSON,
                "responses": answers(object_of(clients=list_of(_ANY_OBJECT))),
            }
        },
        "/api/clients/{client_id}": {
            "patch": {
                "operationId": "changeClient",
                "summary": "How a client's events are read, and its limits; acts at once",
                "parameters": [path("client_id")],
                "security": PERSON,
                "requestBody": body(_ANY_OBJECT),
                "responses": answers(_ANY_OBJECT),
            }
        },
        "/api/clients/{client_id}/log": {
            "get": {
                "operationId": "trail",
                "summary": "What was taken, changed and dismissed, newest first, and by whom",
                "parameters": [
                    path("client_id"),
                    PAGES[0],
                    query("before", {"type": "integer", "minimum": 1}, "the last log_id of the page before"),
                ],
                "security": PERSON,
                "responses": answers(object_of(log=list_of(_ANY_OBJECT))),
            }
        },
    },
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {
            "client": {
                "type": "http",
                "scheme": "bearer",
                "description": "A client's token, from `aquasmart-cloud client add`: sends, and sees its own.",
            },
            "station": STATION_SCHEME,
            "person": {"type": "http", "scheme": "bearer", "description": "The admin token, or a session's cookie."},
        },
    },
}
