"""`GET /api/metrics`: what Prometheus scrapes, with the admin token.

Figures that the database holds, so that every process gives the same answer.
"""

from __future__ import annotations

from flask import Blueprint, Response

from aquasmart_cloud.core.metrics import render
from aquasmart_cloud.store import alert_figures, worker_figures

from .callers import person
from .services import cloud

SOURCES = (worker_figures.families, alert_figures.families)
"""Who measures what: functions of the database that give families."""

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/api/metrics")
def metrics() -> Response:
    """Every family, in Prometheus' text format 0.0.4."""
    person()
    found = [family for families in SOURCES for family in families(cloud().database)]
    return Response(render(found), mimetype="text/plain; version=0.0.4")
