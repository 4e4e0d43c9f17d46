"""What became of each job's runs (`job_run`). This table's one writer; read by the command, pages and metrics.

One row for each job: its last run, the last one that did something, the last error. Written by the worker under its
lease.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from .database import Database

_COLUMNS = "started_at, duration_ms, runs, failed_runs, failures, said, said_at, error, error_at, due_at"
_ALL = f"SELECT job, {_COLUMNS} FROM job_run ORDER BY job"  # noqa: S608  (constants)
_KEEP = (
    f"INSERT INTO job_run (job, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (job) DO UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS.split(", "))
)
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class JobRun:
    """A job's record. `failures`: in a row, 0 where the last run went well; `said`: what the last run did that did
    anything; times are Unix ms by the worker's clock."""

    job: str
    started_at: int
    duration_ms: int = 0
    runs: int = 0
    failed_runs: int = 0
    failures: int = 0
    said: str = ""
    said_at: int | None = None
    error: str = ""
    error_at: int | None = None
    due_at: int = 0

    def done(self, started_at: int, duration_ms: int, said: str) -> JobRun:
        """The record after a run that went well; `said` is '' where there was nothing to do."""
        kept = (said[:_LONGEST_TEXT], started_at) if said else (self.said, self.said_at)
        return replace(
            self,
            started_at=started_at,
            duration_ms=duration_ms,
            runs=self.runs + 1,
            failures=0,
            said=kept[0],
            said_at=kept[1],
        )

    def failed(self, started_at: int, duration_ms: int, error: str) -> JobRun:
        """The record after a run that failed."""
        return replace(
            self,
            started_at=started_at,
            duration_ms=duration_ms,
            runs=self.runs + 1,
            failed_runs=self.failed_runs + 1,
            failures=self.failures + 1,
            error=error[:_LONGEST_TEXT],
            error_at=started_at,
        )


def keep(database: Database, run: JobRun, scope: str = "") -> None:
    """Replace a job's record. Errors: DatabaseError; LeaseLost of a fenced database."""
    values = (
        run.job,
        run.started_at,
        run.duration_ms,
        run.runs,
        run.failed_runs,
        run.failures,
        run.said,
        run.said_at,
        run.error,
        run.error_at,
        run.due_at,
    )
    with database.writing(scope) as connection:
        connection.execute(_KEEP, values)


def every(database: Database) -> dict[str, JobRun]:
    """Job → its record. Errors: DatabaseError."""
    with database.reading() as connection:
        return {row[0]: JobRun(*row) for row in connection.execute(_ALL).fetchall()}


def document(run: JobRun) -> dict[str, Any]:
    """A record for other programs; null for what has not happened."""
    return asdict(run) | {"said": run.said or None, "error": run.error or None}
