"""The worker's jobs, all of them, in one table. Only wiring: what a job does is in its module of `services`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .config import Config
from .outgoing.posting import Posting
from .services.alerting import Alerting
from .services.delivering import Delivering
from .services.fleet_filling import FleetFilling
from .services.housekeeping import Months, OldKeys, Retention
from .services.retrying import RetryQueue
from .services.working import Job
from .store.database import Database
from .store.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a job may be made of. `database` is fenced: a job writes through it and through nothing else."""

    database: Database
    config: Config


def _deliveries(at: Workplace) -> Job:
    telling = at.config.telling
    webhooks = Webhooks(at.database, at.config.keys())
    return Delivering(at.database, webhooks, telling, Posting(telling.webhook_allow))


JOBS: tuple[Callable[[Workplace], Job], ...] = (
    lambda at: Alerting(at.database, at.config.telling),
    _deliveries,
    lambda at: Months(at.database),
    lambda at: RetryQueue(at.database),
    lambda at: FleetFilling(at.database),
    lambda at: Retention(at.database, at.config.retention_months),
    lambda at: OldKeys(at.database),
)
"""One line for each job. Those that are due at the same moment run in this order."""


def make_jobs(config: Config) -> Callable[[Database], Sequence[Job]]:
    """Makes every job anew for each time that this process leads."""
    return lambda database: [make(Workplace(database, config)) for make in JOBS]
