"""The description of the public interface (OpenAPI 3.1), served at /api/openapi.json and held against it by tests.

Data only. What a route does is described where it is; here is what it takes and gives.
"""

from __future__ import annotations

from typing import Any

from aquasmart_cloud import __version__
from aquasmart_cloud.core.normalising.reading import MAX_EVENTS
from aquasmart_cloud.core.problems import TYPE_PREFIX
from aquasmart_cloud.store.aggregations import GROUPS
from aquasmart_cloud.store.failures import STATES

from .asked import LONGEST, MOST_ROWS

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_MS: Schema = {"type": "integer", "description": "Unix milliseconds, UTC"}
_MS_OR_NULL: Schema = {"type": ["integer", "null"]}
_AMOUNT: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$", "description": "an exact decimal"}
_WARNINGS: Schema = {"type": "array", "items": _TEXT}
_ANY_OBJECT: Schema = {"type": "object"}


def _object(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_FAULTS = _list(_object(where=_TEXT, what=_TEXT))
_SCHEMAS: Schema = {
    "Problem": _object(
        type={"type": "string", "pattern": f"^{TYPE_PREFIX}"},
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        code=_TEXT,
        trace_id=_TEXT,
        server_time=_MS,
        errors=_FAULTS,
    ),
    "Normalised": _object(
        id=_TEXT_OR_NULL, source=_TEXT, metric=_TEXT, amount=_AMOUNT, timestamp=_TEXT, station=_TEXT_OR_NULL
    ),
    "Taken": _object(
        ("trace_id",),
        status={"enum": ["processed", "duplicate"]},
        event_id=_TEXT,
        warnings=_WARNINGS,
        event={"oneOf": [_ref("Normalised"), {"type": "null"}]},
        received_at=_MS_OR_NULL,
        trace_id=_TEXT,
    ),
    "NotTaken": _object(
        ("trace_id",),
        status={"const": "failed"},
        event_id=_TEXT,
        warnings=_WARNINGS,
        code={"enum": ["invalid", "id-conflict", "not-normalised"]},
        errors=_FAULTS,
        trace_id=_TEXT,
    ),
    "Results": _object(
        events=_list({"oneOf": [_ref("Taken"), _ref("NotTaken")]}),
        processed={"type": "integer"},
        duplicates={"type": "integer"},
        failed={"type": "integer"},
        trace_id=_TEXT,
    ),
    "Event": _object(
        ("original",),
        client_id=_TEXT,
        event_id=_TEXT,
        status={"const": "processed"},
        id=_TEXT_OR_NULL,
        source=_TEXT,
        metric=_TEXT,
        amount=_AMOUNT,
        timestamp=_TEXT,
        station=_TEXT_OR_NULL,
        warnings=_WARNINGS,
        at=_MS,
        received_at=_MS,
        normaliser={"type": "integer"},
        event_seq={"type": "integer"},
        original={},
    ),
    "StationEvent": _object(
        station_id=_TEXT,
        meter_id=_TEXT_OR_NULL,
        event_id=_TEXT,
        stream=_TEXT,
        **{name: {"type": "integer"} for name in ("seq", "seqs", "at", "flags", "counts", "volume_ul")},
        kind=_TEXT,
        data={},
    ),
    "FailedEvent": _object(
        event_id=_TEXT,
        client_id=_TEXT,
        status={"const": "failed"},
        state={"enum": list(STATES)},
        code=_TEXT,
        errors=_FAULTS,
        warnings=_WARNINGS,
        original={},
        edited={},
        normaliser={"type": "integer"},
        received_at=_MS,
        closed_at=_MS_OR_NULL,
        closed_by=_TEXT_OR_NULL,
        reason=_TEXT_OR_NULL,
        event_seq=_MS_OR_NULL,
    ),
    "Group": _object(
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

_PROBLEM = {"application/problem+json": {"schema": _ref("Problem")}}
_REFUSALS = {
    "400": "not what it says it is",
    "401": "no token, or one that is not right",
    "403": "revoked, or not this caller's affair",
    "404": "there is no such thing",
    "405": "this method is not for this address",
    "413": "too large",
    "415": "an encoding or content type that is not taken",
    "422": "a parameter or a body that breaks the rules",
    "429": "too many requests; Retry-After says how long to wait",
    "503": "nothing was stored; repeat it after Retry-After",
}


def _answers(schema: Schema | None, *, media: str = "application/json") -> Schema:
    """The answers of a route: what it gives when it does its work, and the refusals that any route may give."""
    content = {media: {"schema": schema or {}}}
    refusals = {code: {"description": why, "content": _PROBLEM} for code, why in _REFUSALS.items()}
    return refusals | {"200": {"description": "done", "content": content}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path(name: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema or _NAME}


_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST}
_WHEN: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["2024-03-01", "1709288100000"]}
_FILTERS = [
    _query("client", {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}, "of this sender only"),
    _query("metric", _NAME, "of this metric only, in any case"),
    _query("station", _NAME, "of this station only"),
    _query("from", _WHEN, "not before this time"),
    _query("to", _WHEN, "before this time"),
]
_PAGES = [
    _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}, "rows of a page"),
    _query("after", _NAME, "the `next` of the page before"),
]


_OF = _query("of", {"enum": ["events", "stations"]}, "stations: what they counted themselves; for people")


def _page(items: Schema) -> Schema:
    return _object(events=_list(items), next=_TEXT_OR_NULL)


def _result(schema: Schema, description: str) -> Schema:
    """A result of the intake; the same statuses may also be refusals of the whole request."""
    return {"description": description, "content": {"application/json": {"schema": schema}} | _PROBLEM}


def _body(schema: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


_ONE_OR_MANY = {"oneOf": [_ref("Taken"), _ref("NotTaken"), _ref("Results")]}
_SENT = {
    "201": _result(_ONE_OR_MANY, "stored; of many, at least one is new and none failed"),
    "200": _result(_ONE_OR_MANY, "known already: the first result"),
    "207": _result(_ref("Results"), "some failed, others did not: each has its own status"),
    "409": _result(_ONE_OR_MANY, "the id is that of another event; kept as failed"),
    "422": _result(_ONE_OR_MANY, "cannot be read; kept as failed, with every error"),
}
_EVENTS = {"oneOf": [_ANY_OBJECT, {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": {}}]}
_FAILED_ID = {"type": "string", "pattern": r"^[a-z0-9_-]{1,64}\.[0-9]{1,18}$"}
_PERSON: list[Schema] = [{"person": []}]

DOCUMENT: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "AquaSmart",
        "version": __version__,
        "description": "Events of other systems, in whatever format they have: docs/integrator.md.",
    },
    "security": [{"client": []}, {"person": []}],
    "paths": {
        "/api/events": {
            "post": {
                "operationId": "sendEvents",
                "summary": "One event or many; all of a request is stored, or nothing of it",
                "requestBody": _body(_EVENTS),
                "responses": _answers(None) | _SENT,
            },
            "get": {
                "operationId": "listEvents",
                "summary": "A page of events, sender by sender in order of time",
                "parameters": [
                    *_FILTERS,
                    *_PAGES,
                    _query("status", {"enum": ["processed", "failed"]}, "failed ones instead"),
                    _OF,
                ],
                "responses": _answers(_page({"anyOf": [_ref("Event"), _ref("FailedEvent"), _ref("StationEvent")]})),
            },
        },
        "/api/events.csv": {
            "get": {
                "operationId": "exportCsv",
                "summary": "Every event wanted, as a stream; .jsonl and .parquet beside it",
                "parameters": [*_FILTERS, _OF],
                "responses": _answers(None, media="text/csv"),
            }
        },
        "/api/events.jsonl": {
            "get": {
                "operationId": "exportJsonLines",
                "summary": "One event a line",
                "parameters": [*_FILTERS, _OF],
                "responses": _answers(None, media="application/x-ndjson"),
            }
        },
        "/api/events/{client_id}/{event_seq}": {
            "get": {
                "operationId": "showEvent",
                "summary": "One event with its original",
                "parameters": [_path("client_id"), _path("event_seq", {"type": "integer", "minimum": 1})],
                "responses": _answers(_ref("Event")),
            }
        },
        "/api/failed-events": {
            "get": {
                "operationId": "listFailed",
                "summary": "Events that could not be read; from and to are of their arrival",
                "parameters": [
                    *(each for each in _FILTERS if each["name"] not in {"metric", "station"}),
                    *_PAGES,
                    _query("state", {"enum": [*STATES, "all"]}, "open ones by default"),
                ],
                "responses": _answers(_page(_ref("FailedEvent"))),
            }
        },
        "/api/failed-events/{failed_id}": {
            "get": {
                "operationId": "showFailed",
                "summary": "One of them with its original",
                "parameters": [_path("failed_id", _FAILED_ID)],
                "responses": _answers(_ref("FailedEvent")),
            }
        },
        "/api/failed-events/{failed_id}/reprocess": {
            "post": {
                "operationId": "reprocess",
                "summary": "Try it again, as it is or corrected",
                "parameters": [_path("failed_id", _FAILED_ID)],
                "security": _PERSON,
                "requestBody": _body(_object(("event",), event=_ANY_OBJECT) | {"additionalProperties": False}),
                "responses": _answers(None) | _SENT,
            }
        },
        "/api/failed-events/{failed_id}/dismiss": {
            "post": {
                "operationId": "dismiss",
                "summary": "Close it without an event",
                "parameters": [_path("failed_id", _FAILED_ID)],
                "security": _PERSON,
                "requestBody": _body(_object(reason={"type": "string", "minLength": 1, "maxLength": 1000})),
                "responses": _answers(_ref("FailedEvent"))
                | {"409": {"description": "closed already", "content": _PROBLEM}},
            }
        },
        "/api/aggregations": {
            "get": {
                "operationId": "aggregate",
                "summary": "Figures from rollups: exact sums, percentiles within 0.4 %",
                "parameters": [
                    *_FILTERS,
                    _query("group_by", _TEXT, f"a list with commas of {', '.join(GROUPS)}; at most one time"),
                    _OF,
                ],
                "responses": _answers(_object(of=_TEXT, groups=_list(_ref("Group")))),
            }
        },
        "/api/stats": {
            "get": {
                "operationId": "stats",
                "summary": "How many were processed, and what waits to be looked at",
                "responses": _answers(
                    _object(processed={"type": "integer"}, failed_open={"type": "integer"}, clients=_list(_ANY_OBJECT))
                ),
            }
        },
        "/api/health": {
            "get": {
                "operationId": "health",
                "summary": "Whether events can be taken now",
                "security": [],
                "responses": _answers(_object(status={"const": "ok"}, database={"const": "ok"}, version=_TEXT)),
            }
        },
        "/api/clients": {
            "get": {
                "operationId": "listClients",
                "summary": "Every client with its settings, never its token",
                "security": _PERSON,
                "responses": _answers(_object(clients=_list(_ANY_OBJECT))),
            }
        },
        "/api/clients/{client_id}": {
            "patch": {
                "operationId": "changeClient",
                "summary": "How a client's events are read, and its limits; acts at once",
                "parameters": [_path("client_id")],
                "security": _PERSON,
                "requestBody": _body(_ANY_OBJECT),
                "responses": _answers(_ANY_OBJECT),
            }
        },
        "/api/clients/{client_id}/log": {
            "get": {
                "operationId": "trail",
                "summary": "What was taken, changed and dismissed, newest first, and by whom",
                "parameters": [
                    _path("client_id"),
                    _PAGES[0],
                    _query("before", {"type": "integer", "minimum": 1}, "the last log_id of the page before"),
                ],
                "security": _PERSON,
                "responses": _answers(_object(log=_list(_ANY_OBJECT))),
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
            "person": {"type": "http", "scheme": "bearer", "description": "The admin token, or a session's cookie."},
        },
    },
}
