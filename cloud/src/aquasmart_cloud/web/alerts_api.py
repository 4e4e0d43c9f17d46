"""What is wrong, for programs: alerts listed, shown, acknowledged, closed; and figures for Prometheus.

Views only. People see and change alerts; clients of the intake have no business here.
"""

from __future__ import annotations

from flask import Blueprint, Response

from aquasmart_cloud.core.alert_kinds import KINDS, AlertError
from aquasmart_cloud.core.normalising.reading import read_json
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.services import alert_changes
from aquasmart_cloud.store import alerts
from aquasmart_cloud.store.alerts import Alert, Place, Wanted
from aquasmart_cloud.store.foreign_queries import SENDER_ID

from . import asked, metrics
from .answers import json_answer
from .auth import require_person
from .bodies import read_body
from .callers import person
from .services import cloud

MOST_BYTES = 64 * 1024
_STATES = {"current": alerts.CURRENT, "all": alerts.STATES} | {state: (state,) for state in alerts.STATES}

blueprint = Blueprint("alerts_api", __name__)


@blueprint.get("/api/alerts")
def list_alerts() -> Response:
    """A page of alerts, newest first."""
    person()
    state = asked.one_of("state", tuple(_STATES), "current")
    kind = asked.one_of("kind", ("", *KINDS), "")
    station = asked.text("station") or ""
    if station and not SENDER_ID.fullmatch(station):
        raise asked.wrong("station", "is no station's or client's id")
    cursor, limit = asked.text("after"), asked.limit()
    after = None if cursor is None else Place.of_text(cursor)
    if cursor is not None and after is None:
        raise asked.wrong("after", "this is no cursor; use the 'next' of the page before")
    found = alerts.read_page(cloud().database, Wanted(_STATES[state], kind, station), after, limit)
    following = place_of(found[-1]).text() if len(found) == limit else None
    return json_answer({"alerts": [each.document() for each in found], "next": following})


@blueprint.get("/api/alerts/<alert_id>")
def show_alert(alert_id: str) -> Response:
    """One alert."""
    person()
    try:
        return json_answer(alert_changes.show(cloud().database, alert_id).document())
    except AlertError as error:
        raise Refusal("not-found", f"{error}") from error


@blueprint.post("/api/alerts/<alert_id>/acknowledge")
def acknowledge(alert_id: str) -> Response:
    """Somebody sees to it: `{"note": "…"}`, or `{}`."""
    return _change(alert_id, alert_changes.acknowledge)


@blueprint.post("/api/alerts/<alert_id>/close")
def close(alert_id: str) -> Response:
    """It is dealt with."""
    return _change(alert_id, alert_changes.close)


@blueprint.get("/api/metrics")
def prometheus() -> Response:
    """Alerts, deliveries and the worker in figures, in Prometheus' text format."""
    require_person()
    text = metrics.page(cloud().database, cloud().clock_ms())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def place_of(alert: Alert) -> Place:
    """Where a page that ends with this alert ends."""
    return Place(alert.opened_at, alert.station_id, alert.alert_id)


def _change(alert_id: str, change: alert_changes.Change) -> Response:
    by, note = person(), _note()
    people = alert_changes.people(cloud().config.telling)
    try:
        changed = change(cloud().database, people, alert_id, by, note, cloud().clock_ms())
    except AlertError as error:
        raise Refusal("not-found", f"{error}") from error
    return json_answer(changed.document())


def _note() -> str | None:
    document = read_json(read_body(MOST_BYTES) or b"{}")
    note = document.get("note") if isinstance(document, dict) else None
    fit = note is None or (isinstance(note, str) and "\0" not in note and 1 <= len(note) <= alert_changes.LONGEST_NOTE)
    if not isinstance(document, dict) or document.keys() - {"note"} or not fit or ("note" in document and note is None):
        raise Refusal("invalid", f'send {{}} or {{"note": …}}, a text of 1 to {alert_changes.LONGEST_NOTE} characters')
    return note
