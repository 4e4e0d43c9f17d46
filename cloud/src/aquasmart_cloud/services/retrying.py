"""The retry queue, as a job: events that our own normaliser could not read, and everything after it was renewed.

What is tried, and when, stands in store.retries; trying is services.reprocessing, as by hand. Cut off anywhere and
repeated, nothing is counted twice: each failure is judged again under its sender's lock, and is over or still open.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from aquasmart_cloud.core.normalising.event import CURRENT, Normaliser
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import foreign_queries, intake, retries
from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.intake_log import Occasion

from .reprocessing import Place, Reprocessed, Reprocessing

_PAGE = 200
_PORTION_S = 3.0


@dataclass(slots=True)
class RetryQueue:
    """The job. `normaliser` is this software's; tests pass others."""

    database: Database
    normaliser: Normaliser = CURRENT
    name: str = "retry-queue"
    every_s: int = 30
    _places: dict[str, Place] = field(default_factory=dict)
    """How far a sender's events have been read again. Lost with the process: then from the start, to the same end."""

    def cycle(self, now_ms: int) -> str:
        """Try what is due, then read again what an older version read, for some seconds."""
        until_mono = time.monotonic() + _PORTION_S
        occasion = Occasion(now_ms, secrets.token_hex(16), secrets.token_hex(16), "worker")
        reprocessing = Reprocessing(self.database, Clients(self.database), self.normaliser)
        retried = self._retry(reprocessing, occasion, until_mono)
        again = self._read_again(reprocessing, occasion, until_mono)
        said = [f"tried {retried[0]} again, {retried[1]} of them are read now"] if retried[0] else []
        if again.tried or again.known_again:
            read = again.processed + again.duplicates
            said.append(
                f"version {self.normaliser.version} tried {again.tried} failures, {read} of them are read now,"
                f" and knows {again.known_again} earlier events"
            )
        return "; ".join(said)

    def _retry(self, reprocessing: Reprocessing, occasion: Occasion, until_mono: float) -> tuple[int, int]:
        tried = read = 0
        for sender in retries.senders_due(self.database, occasion.now_ms):
            for failed_seq in retries.due(self.database, sender, occasion.now_ms, _PAGE):
                try:
                    result = reprocessing.one((sender, failed_seq), occasion)
                except Refusal:  # somebody closed it meanwhile
                    retries.forget(self.database, (sender, failed_seq))
                    continue
                tried, read = tried + 1, read + (result.status != intake.FAILED)
                if time.monotonic() > until_mono:
                    return tried, read
        return tried, read

    def _read_again(self, reprocessing: Reprocessing, occasion: Occasion, until_mono: float) -> Reprocessed:
        total, known = Reprocessed(), retries.versions(self.database)
        for sender in foreign_queries.senders(self.database):
            if known.get(sender, 0) >= self.normaliser.version:
                continue
            place: Place | None = self._places.pop(sender, Place())
            while place is not None:
                if time.monotonic() > until_mono:
                    self._places[sender] = place
                    return total
                place, total = reprocessing.portion(sender, place, occasion, total)
            retries.passed(self.database, sender, self.normaliser.version, occasion.now_ms)
        return total
