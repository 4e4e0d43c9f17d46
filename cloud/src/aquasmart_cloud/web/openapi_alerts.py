"""The description of what is asked and done about alerts: part of `openapi`. Data only."""

from __future__ import annotations

from aquasmart_cloud.core.alert_kinds import KINDS, URGENT, WARNING
from aquasmart_cloud.services.alert_changes import LONGEST_NOTE
from aquasmart_cloud.store.alerts import STATES

from .openapi_forms import (
    MS,
    MS_OR_NULL,
    NAME,
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

ALERT_SCHEMAS: Schema = {
    "Alert": object_of(
        alert_id=TEXT,
        station_id={"type": "string", "description": "a station, a client (`c_…`), or `_cloud`"},
        kind=TEXT,
        subject=TEXT,
        severity={"enum": [URGENT, WARNING]},
        state={"enum": list(STATES)},
        title=TEXT,
        text=TEXT,
        advice=TEXT,
        since_at=MS,
        opened_at=MS,
        seen_at=MS,
        figures={"type": "object"},
        acknowledged_at=MS_OR_NULL,
        acknowledged_by=TEXT_OR_NULL,
        closed_at=MS_OR_NULL,
        closed_by=TEXT_OR_NULL,
        note=TEXT_OR_NULL,
    )
}
_ALERT_ID: Schema = {"type": "string", "pattern": r"^[a-z0-9_-]{1,64}\.[0-9]{1,18}$"}
_NOTE = body(
    object_of(("note",), note={"type": "string", "minLength": 1, "maxLength": LONGEST_NOTE})
    | {"additionalProperties": False}
)


def _change(name: str, summary: str) -> Schema:
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "parameters": [path("alert_id", _ALERT_ID)],
            "security": PERSON,
            "requestBody": _NOTE,
            "responses": answers(ref("Alert")),
        }
    }


ALERT_PATHS: Schema = {
    "/api/alerts": {
        "get": {
            "operationId": "listAlerts",
            "summary": "What is wrong, newest first: what is not closed, unless `state` says otherwise",
            "parameters": [
                query("state", {"enum": [*STATES, "current", "all"]}, "current: open or acknowledged"),
                query("kind", {"enum": list(KINDS)}, "of this kind only"),
                query("station", NAME, "of this station or client only"),
                *PAGES,
            ],
            "security": PERSON,
            "responses": answers(object_of(alerts=list_of(ref("Alert")), next=TEXT_OR_NULL)),
        }
    },
    "/api/alerts/{alert_id}": {
        "get": {
            "operationId": "showAlert",
            "summary": "One alert",
            "parameters": [path("alert_id", _ALERT_ID)],
            "security": PERSON,
            "responses": answers(ref("Alert")),
        }
    },
    "/api/alerts/{alert_id}/acknowledge": _change("acknowledgeAlert", "Somebody sees to it; it stays until it is over"),
    "/api/alerts/{alert_id}/close": _change("closeAlert", "It is dealt with; it opens anew only when it comes back"),
}
