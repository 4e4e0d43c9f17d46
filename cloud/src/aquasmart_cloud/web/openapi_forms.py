"""What descriptions of routes are made of (OpenAPI 3.1): schemas, parameters, answers. No route is described here."""

from __future__ import annotations

from typing import Any

from .asked import LONGEST, MOST_ROWS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
MS: Schema = {"type": "integer", "description": "Unix milliseconds, UTC"}
MS_OR_NULL: Schema = {"type": ["integer", "null"]}


def object_of(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


PROBLEM = {"application/problem+json": {"schema": ref("Problem")}}
REFUSALS = {
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


def answers(schema: Schema | None, *, media: str = "application/json") -> Schema:
    """The answers of a route: what it gives when it does its work, and the refusals that any route may give."""
    content = {media: {"schema": schema or {}}}
    refusals = {code: {"description": why, "content": PROBLEM} for code, why in REFUSALS.items()}
    return refusals | {"200": {"description": "done", "content": content}}


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def path(name: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema or NAME}


NAME: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST}
PAGES = [
    query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}, "rows of a page"),
    query("after", NAME, "the `next` of the page before"),
]


def body(schema: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


PERSON: list[Schema] = [{"person": []}]
