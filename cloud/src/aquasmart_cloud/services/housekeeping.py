"""Housekeeping by the calendar, as jobs: months made ahead, months let go, old idempotency keys forgotten.

Each is harmless when repeated or cut off; nothing that was counted depends on any of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aquasmart_cloud.store import operations
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.partitions import cutoff, let_go, make_partitions

_HOUR_S = 3600
_PORTIONS = 20
"""Transactions of one run of the retention: on SQLite a station waits for one of them, never for all."""


@dataclass(slots=True)
class Months:
    """Makes PostgreSQL's partitions before their month begins. What nobody made one for lies in the default one."""

    database: Database
    name: str = "months"
    every_s: int = 6 * _HOUR_S

    def cycle(self, now_ms: int) -> str:
        """Make those of this month and the next three."""
        made = make_partitions(self.database, now_ms)
        return f"made {', '.join(made)}" if made else ""


@dataclass(slots=True)
class Retention:
    """Lets months go where an operator has said for how many to keep them; without a number it does nothing, ever."""

    database: Database
    keep_months: int | None
    name: str = "retention"
    every_s: int = 60
    _finished_ms: int | None = None
    """The cutoff up to which everything is gone: until the next month there is nothing to look for."""

    def cycle(self, now_ms: int) -> str:
        """Delete one portion."""
        if self.keep_months is None:
            return ""
        cutoff_ms = cutoff(self.keep_months, now_ms)
        if cutoff_ms == self._finished_ms:
            return ""
        gone = let_go(self.database, self.keep_months, now_ms, _PORTIONS)
        if not any(gone.values()):
            self._finished_ms = cutoff_ms
            return ""
        return f"let go of {gone['batch']} batches and {gone['notable']} notable events"


@dataclass(slots=True)
class OldKeys:
    """Forgets idempotency keys after their 90 days, also those of stations that ask no more."""

    database: Database
    name: str = "old-keys"
    every_s: int = _HOUR_S

    def cycle(self, now_ms: int) -> str:
        """Those of a hundred stations."""
        keys, stations = operations.forget_old(self.database, now_ms)
        return f"forgot {keys} idempotency keys of {stations} stations" if keys else ""
