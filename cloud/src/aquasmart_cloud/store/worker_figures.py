"""What the worker is and does, as metrics: whether anybody leads, each job's last run, what waits. Read only."""

from __future__ import annotations

from aquasmart_cloud.core.metrics import Family, Sample, seconds

from . import fleet_figures, fleet_rollups, job_runs, leases, retries
from .database import Database
from .job_runs import JobRun


def families(database: Database) -> list[Family]:
    """All of them. Errors: DatabaseError."""
    held = leases.show(database, leases.WORKER)
    leads = held is not None and held.valid
    runs = list(job_runs.every(database).values())
    with database.reading() as connection:
        behind = fleet_figures.outstanding(connection)
    complete = fleet_rollups.state(database) == fleet_rollups.COMPLETE
    return [
        _gauge("aquasmart_cloud_worker_leads", "Whether a worker holds the lease (1) or none does (0).", int(leads)),
        Family(
            "aquasmart_cloud_worker_takeovers_total",
            "counter",
            "How often the lease was taken.",
            [Sample(held.fence if held else 0)],
        ),
        *_of_jobs(runs),
        _gauge(
            "aquasmart_cloud_retries_waiting",
            "Foreign events that are tried again by themselves.",
            retries.waiting(database),
        ),
        _gauge(
            "aquasmart_cloud_fleet_rollups_complete",
            "Whether the figures of the fleet are complete (1) or being made (0).",
            int(complete),
        ),
        _gauge(
            "aquasmart_cloud_fleet_rollups_behind_events",
            "Events that are not in the figures of the fleet yet.",
            behind,
        ),
    ]


def _of_jobs(runs: list[JobRun]) -> list[Family]:
    def of(value: str) -> list[Sample]:
        return [Sample(getattr(run, value), {"job": run.job}) for run in runs]

    prefix = "aquasmart_cloud_job"
    return [
        Family(f"{prefix}_runs_total", "counter", "Runs of a job; idle ones are told once a minute.", of("runs")),
        Family(f"{prefix}_failed_runs_total", "counter", "Runs of a job that failed.", of("failed_runs")),
        Family(f"{prefix}_failures_in_a_row", "gauge", "Failed runs since the last that went well.", of("failures")),
        Family(
            f"{prefix}_last_run_timestamp_seconds",
            "gauge",
            "When a job's last run began, Unix time.",
            [Sample(seconds(run.started_at), {"job": run.job}) for run in runs],
        ),
        Family(
            f"{prefix}_last_run_seconds",
            "gauge",
            "How long a job's last run took.",
            [Sample(seconds(run.duration_ms), {"job": run.job}) for run in runs],
        ),
    ]


def _gauge(name: str, text: str, value: int) -> Family:
    return Family(name, "gauge", text, [Sample(value)])
