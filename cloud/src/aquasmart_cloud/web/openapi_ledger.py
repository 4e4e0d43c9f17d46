"""The description of a station's ledger: part of `openapi`. Data only."""

from __future__ import annotations

from aquasmart_cloud.services.explaining import LONGEST_NOTE
from aquasmart_cloud.store.ledger_view import STATES

from .openapi_forms import (
    MS,
    MS_OR_NULL,
    PAGES,
    PERSON,
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

_COUNTS: Schema = {"type": "integer", "description": "a position in the meter's root epoch, in counts"}
_UL: Schema = {"type": "integer", "description": "µl"}
_NUMBER: Schema = {"type": "integer"}

LEDGER_SCHEMAS: Schema = {
    "Difference": object_of(
        entry_id=_NUMBER,
        meter_id=TEXT_OR_NULL,
        epoch=TEXT_OR_NULL,
        kind=TEXT,
        state={"enum": list(STATES)},
        from_counts=_COUNTS,
        to_counts=_COUNTS,
        volume_ul=_UL,
        opened_at=MS,
        closed_at=MS_OR_NULL,
        closed_by=TEXT_OR_NULL,
        note=TEXT_OR_NULL,
        detail={"type": "object"},
    ),
    "Interval": object_of(
        meter_id=TEXT,
        epoch=TEXT,
        from_counts=_COUNTS,
        to_counts=_COUNTS,
        kind=TEXT,
        ul_num=_NUMBER,
        den=_NUMBER,
        volume_ul=_UL,
        stream=TEXT,
    ),
}
_STATION: Schema = {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}
_ENTRY: Schema = {"type": "integer", "minimum": 1, "maximum": (1 << 53) - 1}
_PLACE = [path("station_id", _STATION), path("entry_id", _ENTRY)]
_LEDGER = object_of(
    station_id=TEXT,
    events=_NUMBER,
    volume_ul=_UL,
    disputed_ul=_UL,
    differences=list_of(object_of(kind=TEXT, state=TEXT, number=_NUMBER, volume_ul=_UL)),
    list=TEXT,
    items=list_of({"oneOf": [ref("Difference"), ref("Interval")]}),
    next=TEXT_OR_NULL,
)


def _change(name: str, summary: str, request: Schema | None) -> Schema:
    described = {
        "operationId": name,
        "summary": summary,
        "parameters": _PLACE,
        "security": PERSON,
        "responses": answers(ref("Difference")),
    }
    return {"post": described | ({"requestBody": request} if request else {})}


LEDGER_PATHS: Schema = {
    "/api/stations/{station_id}/ledger": {
        "get": {
            "operationId": "showLedger",
            "summary": "What a station's ledger adds up to, and a page of its named differences or booked stretches",
            "parameters": [
                path("station_id", _STATION),
                query("list", {"enum": ["differences", "intervals"]}, "differences unless you say otherwise"),
                query("state", {"enum": [*STATES, "all"]}, "differences in this state only"),
                *PAGES,
            ],
            "security": PERSON,
            "responses": answers(_LEDGER),
        }
    },
    "/api/stations/{station_id}/ledger/{entry_id}/explain": _change(
        "explainDifference",
        "Say why it is there: it stays in the books and alarms nobody any more",
        body(
            object_of(note={"type": "string", "minLength": 1, "maxLength": LONGEST_NOTE})
            | {"additionalProperties": False}
        ),
    ),
    "/api/stations/{station_id}/ledger/{entry_id}/reopen": _change(
        "reopenDifference", "Take an explanation back", body({"type": "object"})
    ),
}
