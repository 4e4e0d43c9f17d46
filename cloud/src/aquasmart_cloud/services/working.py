"""What runs on a clock: jobs, one after the other, by the one process that holds the lease.

The loop knows no job: `worker_wiring` lists them. A job that fails is recorded, tried again ever less often, and
keeps no other from running. Started twice, the second process waits; what a leader that lost its lease still wants
to write is refused by the database it was given (store.fenced).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

from aquasmart_cloud.core.errors import CloudError, DatabaseError, LeaseLost, WorkStopped
from aquasmart_cloud.core.scheduling import delay_s, wait_s
from aquasmart_cloud.store import job_runs, leases, migrating
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.fenced import FencedDatabase
from aquasmart_cloud.store.job_runs import JobRun

from .leading import Tenure

TRY_EVERY_S = 1.0
LOOK_EVERY_S = 1.0
IDLE_RECORD_EVERY_MS = 60_000
"""A run that found nothing to do is worth a commit once a minute, so that one sees that it runs."""

_UPGRADE = "'aquasmart-cloud db upgrade' brings it to this version's schema"

log = logging.getLogger("aquasmart.worker")


class Job(Protocol):
    """Something that is done again and again. A cycle may be cut off at any transaction and repeated."""

    @property
    def name(self) -> str:
        """How operators call it: lower-case words with hyphens; the key of its record."""

    @property
    def every_s(self) -> int:
        """Seconds from the end of one run to the next."""

    def cycle(self, now_ms: int) -> str:
        """Do one portion, of seconds rather than minutes; returns a line of what was done, '' for nothing.

        Whatever it writes goes through the database it was made with, which is fenced.
        Errors: DatabaseError where the database fails; any error is recorded and tried again. LeaseLost and WorkStopped
        of the fenced database are the loop's affair: let them pass.
        """


Making = Callable[[Database], Sequence[Job]]


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a job, for whoever shows it."""

    job: str
    at_ms: int
    duration_ms: int
    said: str
    error: str


class Waiting(Protocol):
    """What the loop waits by, and whether it was asked to stop (threading.Event)."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait so many seconds, or until asked to stop."""


@dataclass(slots=True)
class Showing:
    """Who is told of the loop's progress; nothing by default. `life` is called at least once a second while all is
    well, between runs and never during one."""

    life: Callable[[], None] = lambda: None
    state: Callable[[str], None] = lambda _: None
    ran: Callable[[Ran], None] = lambda _: None


class Worker:
    """The loop. The constructor stores its arguments; `make_jobs` gets the database that they must use."""

    def __init__(self, database: Database, make_jobs: Making, holder: str, showing: Showing | None = None) -> None:
        self._database = database
        self._make_jobs = make_jobs
        self._holder = holder
        self._showing = showing or Showing()
        self._said = ""

    def run(self, stop: Waiting) -> None:
        """Wait for the lease, work under it, and so on, until asked to stop. A database that is away is waited for."""
        while not stop.is_set():
            self._showing.life()
            tenure = self._take()
            if tenure is None:
                stop.wait(TRY_EVERY_S)
                continue
            with tenure:
                self._lead(tenure, stop)
            stop.wait(TRY_EVERY_S)

    def once(self, stop: Waiting) -> list[Ran] | None:
        """Run every job once; None where another process leads, which then does it. Errors: DatabaseError."""
        if not self._migrated():
            raise DatabaseError(f"{self._database.name} is not at this version's schema", _UPGRADE)
        lease = leases.take(self._database, leases.WORKER, self._holder)
        if lease is None:
            return None
        with Tenure(self._database, lease) as tenure:
            jobs = self._jobs(tenure, stop)
            records = job_runs.every(self._database)
            return [jobs.run(job, records.get(job.name))[1] for job in jobs.all]

    def _take(self) -> Tenure | None:
        try:
            if not self._migrated():
                self._say(f"waits for the database: {_UPGRADE}")
                return None
            lease = leases.take(self._database, leases.WORKER, self._holder)
            held = leases.show(self._database, leases.WORKER) if lease is None else None
        except DatabaseError as fault:
            self._say(f"waits for the database: {fault}")
            return None
        if lease is None:
            self._say(f"stands by: {held.holder if held else 'another'} leads")
            return None
        self._say("leads")
        return Tenure(self._database, lease)

    def _migrated(self) -> bool:
        return migrating.current_revision(self._database) == migrating.newest_revision()

    def _say(self, state: str) -> None:
        """Told once, not every second."""
        if state != self._said:
            self._said = state
            log.info("%s %s", self._holder, state)
            self._showing.state(state)

    def _jobs(self, tenure: Tenure, stop: Waiting) -> _Jobs:
        fenced = cast("Database", FencedDatabase(self._database, tenure.lease, stop.is_set))
        return _Jobs(fenced, self._make_jobs(fenced), self._showing)

    def _lead(self, tenure: Tenure, stop: Waiting) -> None:
        try:
            jobs = self._jobs(tenure, stop)
            plan = _Plan(jobs.all, job_runs.every(self._database))
            while not (stop.is_set() or tenure.over):
                tenure.show_life()
                self._showing.life()
                job = plan.due()
                if job is None:
                    stop.wait(min(plan.wait_s(), LOOK_EVERY_S))
                else:
                    record, _ = jobs.run(job, plan.records.get(job.name))
                    plan.ran(job, record)
        except WorkStopped:
            return
        except CloudError as fault:
            self._say(f"leads no more: {fault}")


class _Plan:
    """When each job is due, by the monotonic clock; the records say how long ago the last run was."""

    def __init__(self, jobs: Sequence[Job], records: dict[str, JobRun]) -> None:
        self.records = records
        now_ms, now_mono = _now_ms(), time.monotonic()
        self._due: dict[str, float] = {}
        self._jobs = jobs
        for job in jobs:
            record = records.get(job.name)
            since_s = None if record is None else max(now_ms - record.started_at - record.duration_ms, 0) // 1000
            failures = 0 if record is None else record.failures
            self._due[job.name] = now_mono + wait_s(job.every_s, failures, since_s)

    def due(self) -> Job | None:
        """The job that has been due for the longest."""
        first = min(self._jobs, key=lambda job: self._due[job.name], default=None)
        return first if first is not None and self._due[first.name] <= time.monotonic() else None

    def wait_s(self) -> float:
        """Seconds until one is due."""
        if not self._due:
            return LOOK_EVERY_S
        return max(min(self._due.values()) - time.monotonic(), 0)

    def ran(self, job: Job, record: JobRun) -> None:
        """A run has ended."""
        self.records[job.name] = record
        self._due[job.name] = time.monotonic() + delay_s(job.every_s, record.failures)


class _Jobs:
    """Runs jobs and keeps their records."""

    def __init__(self, fenced: Database, jobs: Sequence[Job], showing: Showing) -> None:
        self.all = jobs
        self._fenced = fenced
        self._showing = showing
        self._kept_ms: dict[str, int] = {}

    def run(self, job: Job, record: JobRun | None) -> tuple[JobRun, Ran]:
        """Run a job once and keep what became of it. Errors: LeaseLost, WorkStopped."""
        at_ms, began_mono, said, error = _now_ms(), time.monotonic(), "", ""
        try:
            said = job.cycle(at_ms)
        except (LeaseLost, WorkStopped):
            raise
        except Exception as fault:  # a job's mistake must not keep the others from running
            error = str(fault) if isinstance(fault, CloudError) and str(fault) else f"{type(fault).__name__}: {fault}"
            log.error("job %s failed: %s", job.name, error, exc_info=not isinstance(fault, CloudError))  # noqa: TRY400
        duration_ms = round((time.monotonic() - began_mono) * 1000)
        former = record or JobRun(job.name, at_ms)
        new = former.failed(at_ms, duration_ms, error) if error else former.done(at_ms, duration_ms, said)
        new = replace(new, due_at=_now_ms() + delay_s(job.every_s, new.failures) * 1000)
        self._keep(former, new)
        if said:
            log.debug("job %s: %s", job.name, said)
        ran = Ran(job.name, at_ms, duration_ms, said, error)
        self._showing.ran(ran)
        return new, ran

    def _keep(self, former: JobRun, new: JobRun) -> None:
        idle = new.failures == former.failures == 0 and new.said_at == former.said_at and former.runs > 0
        if idle and 0 <= new.started_at - self._kept_ms.get(new.job, 0) < IDLE_RECORD_EVERY_MS:
            return
        try:
            job_runs.keep(self._fenced, new)
            self._kept_ms[new.job] = new.started_at
        except DatabaseError as fault:
            log.warning("the record of job %s could not be kept: %s", new.job, fault)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
