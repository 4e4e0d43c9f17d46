"""What is wrong and who is told of it, as metrics: alerts that are not closed, deliveries. Read only."""

from __future__ import annotations

from aquasmart_cloud.core.alert_kinds import KINDS
from aquasmart_cloud.core.metrics import Family, Sample, seconds

from . import alerts, outbox
from .database import Database


def families(database: Database) -> list[Family]:
    """All of them. Errors: DatabaseError."""
    with database.reading() as connection:
        current, deliveries = alerts.counts(connection), outbox.counts(connection)
    waiting = deliveries.get(outbox.WAITING)
    return [
        Family(
            "aquasmart_cloud_alerts",
            "gauge",
            "Alerts that are not closed.",
            [
                Sample(current.get((kind, state), 0), {"kind": kind, "state": state})
                for kind in KINDS
                for state in alerts.CURRENT
            ],
        ),
        Family(
            "aquasmart_cloud_deliveries",
            "gauge",
            "Deliveries of alerts; what ended is kept for a month.",
            [Sample(deliveries.get(state, (0, 0))[0], {"state": state}) for state in outbox.STATES],
        ),
        Family(
            "aquasmart_cloud_oldest_delivery_timestamp_seconds",
            "gauge",
            "Since when the oldest delivery waits, Unix time; absent where none waits.",
            [Sample(seconds(waiting[1]))] if waiting else [],
        ),
    ]
