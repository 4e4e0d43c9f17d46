"""Figures for Prometheus about what runs on a clock and what is wrong: alerts, deliveries, the worker's jobs.

Text format 0.0.4, written by hand: a handful of gauges needs no library. Everything is read from the database, so it
does not matter which process of the cloud is asked. No figure of a station is here; those are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aquasmart_cloud.core.alert_kinds import KINDS
from aquasmart_cloud.store import alerts, fleet_figures, fleet_rollups, job_runs, leases, outbox, retries
from aquasmart_cloud.store.database import Database

Samples = Iterable[tuple[Mapping[str, str], int]]


def page(database: Database, now_ms: int) -> str:
    """The page. Errors: DatabaseError."""
    with database.reading() as connection:
        current, deliveries = alerts.counts(connection), outbox.counts(connection)
        behind = fleet_figures.outstanding(connection)
    runs = job_runs.every(database)
    held = leases.show(database, leases.WORKER)
    _, oldest_ms = deliveries.get(outbox.WAITING, (0, now_ms))
    families = [
        _family(
            "aquasmart_cloud_alerts",
            "Alerts that are not closed, by kind and state.",
            [
                ({"kind": kind, "state": state}, current.get((kind, state), 0))
                for kind in KINDS
                for state in alerts.CURRENT
            ],
        ),
        _family(
            "aquasmart_cloud_deliveries",
            "Deliveries of alerts in the outbox, by state; what ended is kept for a month.",
            [({"state": state}, deliveries.get(state, (0, 0))[0]) for state in outbox.STATES],
        ),
        _family(
            "aquasmart_cloud_oldest_delivery_age_seconds",
            "Age of the oldest delivery that waits, 0 where none does.",
            [({}, max(now_ms - oldest_ms, 0) // 1000)],
        ),
        _family(
            "aquasmart_cloud_worker_leads",
            "1 while a worker holds the lease: what runs on a clock is done.",
            [({}, int(held is not None and held.valid))],
        ),
        _family(
            "aquasmart_cloud_worker_takeovers_total",
            "How often the worker's lease was taken.",
            [({}, held.fence if held else 0)],
            "counter",
        ),
        _family(
            "aquasmart_cloud_job_runs_total",
            "Runs of each of the worker's jobs; idle ones are told once a minute.",
            [({"job": name}, run.runs) for name, run in runs.items()],
            "counter",
        ),
        _family(
            "aquasmart_cloud_job_failed_runs_total",
            "Runs of each of the worker's jobs that failed.",
            [({"job": name}, run.failed_runs) for name, run in runs.items()],
            "counter",
        ),
        _family(
            "aquasmart_cloud_job_last_run_milliseconds",
            "How long the last run of each of the worker's jobs took.",
            [({"job": name}, run.duration_ms) for name, run in runs.items()],
        ),
        _family(
            "aquasmart_cloud_retries_waiting",
            "Foreign events that the worker tries again by itself.",
            [({}, retries.waiting(database))],
        ),
        _family(
            "aquasmart_cloud_fleet_rollups_complete",
            "1 while the figures of the fleet are complete, 0 while the worker makes them.",
            [({}, int(fleet_rollups.state(database) == fleet_rollups.COMPLETE))],
        ),
        _family(
            "aquasmart_cloud_fleet_rollups_behind_events",
            "Events that are not in the figures of the fleet yet.",
            [({}, behind)],
        ),
        _family(
            "aquasmart_cloud_job_failures",
            "Failures in a row of each of the worker's jobs.",
            [({"job": name}, run.failures) for name, run in runs.items()],
        ),
        _family(
            "aquasmart_cloud_job_last_run_timestamp_seconds",
            "When each of the worker's jobs last began, Unix time.",
            [({"job": name}, run.started_at // 1000) for name, run in runs.items()],
        ),
    ]
    return "".join(families)


def _family(name: str, meaning: str, samples: Samples, kind: str = "gauge") -> str:
    """A family; nothing where there is no sample of it yet."""
    lines = []
    for labels, value in samples:
        said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{said}}} {value}" if said else f"{name} {value}")
    head = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    return "\n".join([*head, *lines]) + "\n" if lines else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
