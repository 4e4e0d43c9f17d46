"""The description of what stations ask about updates: part of `openapi`. Data only.

Of all that stations ask, these two are described here, too, since whoever builds a mirror or a proxy of bundles needs
them; the rest of what is under /v1/ is docs/protocol.md's.
"""

from __future__ import annotations

from aquasmart_cloud.core.rollouts import MOST_NUMBER

from .openapi_forms import PROBLEM, TEXT, Schema, answers, object_of, path, ref

_CLOCK: Schema = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "description": "UTC"}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_FILE: Schema = {"application/vnd.rauc": {"schema": {}}}
STATION: list[Schema] = [{"station": []}]

UPDATE_SCHEMAS: Schema = {
    "Update": object_of(
        rollout_id={"type": "integer", "minimum": 1},
        stopped={"type": "boolean", "description": "the operator, or a canary, has stopped it: cease"},
        window={"$comment": "`to` below `from` is past midnight; alike: all day"}
        | object_of(**{"from": _CLOCK, "to": _CLOCK}),
        bundle=object_of(
            sha256=_SHA256,
            size_bytes={"type": "integer", "minimum": 1},
            version=TEXT,
            number={"type": "integer", "minimum": 1, "maximum": MOST_NUMBER},
            compatible=TEXT,
        ),
    )
}

UPDATE_PATHS: Schema = {
    "/v1/update": {
        "get": {
            "operationId": "askForUpdate",
            "summary": "What this station is offered; null where there is nothing. Signed both ways",
            "security": STATION,
            "responses": answers(
                object_of(meta={"type": "object"}, data=object_of(update={"oneOf": [ref("Update"), {"type": "null"}]}))
            ),
        }
    },
    "/v1/bundles/{sha256}": {
        "get": {
            "operationId": "fetchBundle",
            "summary": "The bundle that this station is offered; a range of up to 1 MiB is signed, more is not",
            "description": "`Range` with one range of bytes, `If-Range` with the entity tag, which is the SHA-256.",
            "parameters": [path("sha256", _SHA256)],
            "security": STATION,
            "responses": answers(None)
            | {
                "200": {"description": "the whole file", "content": _FILE},
                "206": {"description": "a range of it", "content": _FILE},
                "416": {"description": "there is no such range", "content": PROBLEM},
            },
        }
    },
}
STATION_SCHEME: Schema = {
    "type": "apiKey",
    "in": "header",
    "name": "X-Signature",
    "description": "A station's signature of the request, with its other headers: docs/protocol.md §1.",
}
