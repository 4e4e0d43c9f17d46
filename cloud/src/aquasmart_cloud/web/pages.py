"""What people see: the fleet, a station, and the same figures as JSON for the live page.

Views only: they read one document from the store, add words, and render. No SQL, no figures of their own,
nothing that changes anything.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from aquasmart_cloud.core.errors import CloudError, DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import alerts
from aquasmart_cloud.store.alerts import Wanted
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.fleet import read_fleet
from aquasmart_cloud.store.station_view import read_station

from . import documents, figures
from .answers import json_answer, log, now_ms, problem, trace_id
from .auth import require_person

FILTERS = (("", "All"), ("attention", "Needs attention"), ("online", "Online"))

RETRY_AFTER_S = 5
MOST_ALERTS = 200
"""The pages count so many; the fleet page shows the first dozen of them."""
PEOPLE = frozenset({"pages", "failed_pages", "ledger_pages", "rollout_pages", "auth"})

blueprint = Blueprint("pages", __name__)
blueprint.before_request(require_person)


def install(app: Flask, *, database: Database) -> None:
    """Give the app its pages and the figures its templates use."""
    app.extensions["aquasmart.pages.database"] = database
    app.jinja_env.globals.update(figure=figures.figure, shape=figures.shape, spark_path=figures.spark_path)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(blueprint)
    app.after_request(forget)


def forget(answer: Response) -> Response:
    """No copy of what people see stays in a cache."""
    if request.blueprint in PEOPLE:
        answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.get("/")
def fleet() -> ResponseReturnValue:
    """The fleet page."""
    document = _fleet()
    return render_template("fleet.html", fleet=document, now_ms=document["server_time"], filters=FILTERS)


@blueprint.get("/stations/<station_id>")
def station(station_id: str) -> ResponseReturnValue:
    """One station's page."""
    document = _station(station_id)
    return render_template("station.html", station=document, now_ms=document["server_time"])


@blueprint.get("/api/fleet")
def fleet_json() -> ResponseReturnValue:
    """The fleet as the page shows it. Volumes are integers in µl, times Unix ms."""
    return json_answer(_fleet())


@blueprint.get("/api/stations/<station_id>")
def station_json(station_id: str) -> ResponseReturnValue:
    """One station as its page shows it."""
    return json_answer(_station(station_id))


@blueprint.errorhandler(Refusal)
def in_words(refusal: Refusal) -> ResponseReturnValue:
    """A problem document for programs, a page with the same words for people."""
    answer = problem(refusal)
    if request.path.startswith("/api/"):
        return answer
    answer.data = render_template("problem.html", title=refusal.type.title, advice=refusal.detail)
    answer.mimetype = "text/html"
    return answer


def database_failed(error: CloudError) -> ResponseReturnValue:
    """For pages that change something: a page that says what it means, the reason in the log."""
    log.error("%s (%s) trace=%s", error, error.hint, trace_id())
    return in_words(
        Refusal(
            "unavailable",
            "The database cannot be used now. Nothing was changed; try again soon.",
            retry_after_s=RETRY_AFTER_S,
        )
    )


def _fleet() -> dict[str, Any]:
    """The fleet's document. Errors: Refusal where the database cannot be read."""
    try:
        with _database().engine.connect() as connection:
            return documents.fleet(read_fleet(connection, now_ms()) | {"alerts": _alerts()})
    except SQLAlchemyError as error:
        raise _unreadable(error) from error


def _station(station_id: str) -> dict[str, Any]:
    """A station's document. Errors: Refusal for an unknown one, or where the database cannot be read."""
    try:
        with _database().engine.connect() as connection:
            found = read_station(connection, station_id, now_ms())
            current = _alerts(station_id) if found is not None else []
    except SQLAlchemyError as error:
        raise _unreadable(error) from error
    if found is None:
        raise Refusal("not-found", f"This cloud knows no station {station_id}. The fleet page lists those it knows.")
    return documents.station(found | {"alerts": current})


def _alerts(station_id: str = "") -> list[dict[str, Any]]:
    """What is not closed, of one station or of all, newest first. Errors: Refusal."""
    try:
        found = alerts.read_page(_database(), Wanted(station_id=station_id), None, MOST_ALERTS)
    except DatabaseError as error:
        raise _unreadable(error) from error
    return [each.document() for each in found]


def _unreadable(error: Exception) -> Refusal:
    log.error("the database cannot be read: %s", error)
    return Refusal(
        "unavailable",
        "The database cannot be read now. Stations keep what they count; the log of this server says why.",
        retry_after_s=RETRY_AFTER_S,
    )


def _database() -> Database:
    database: Database = current_app.extensions["aquasmart.pages.database"]
    return database
