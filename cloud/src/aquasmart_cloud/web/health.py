"""Health checks for load balancers: alive, and able to work. Open to anyone; they reveal no figure."""

from __future__ import annotations

from flask import Blueprint, Response

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.migrating import current_revision, newest_revision

from .answers import json_answer, log, problem
from .services import cloud

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return json_answer({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The database is reachable and its migrations are current; else 503 saying which is not so."""
    try:
        current = current_revision(cloud().database)
    except DatabaseError as error:
        log.error("not ready: %s", error)
        return problem(Refusal("unavailable", "the database is not reachable", retry_after_s=5))
    if current != newest_revision():
        log.error("not ready: database at %s, software needs %s", current, newest_revision())
        return problem(Refusal("unavailable", "the database is not migrated", retry_after_s=5))
    return json_answer({"status": "ready"})
