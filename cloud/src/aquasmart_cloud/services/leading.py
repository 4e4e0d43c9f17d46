"""Being the one that works: holding the worker's lease while there is a sign of life from the work itself.

A thread renews the lease, so that one long statement does not cost it; but only while `show_life` was called not too
long ago. Work that hangs loses the lease (and is ended by systemd's watchdog, which nobody pets meanwhile).
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from aquasmart_cloud.core.errors import DatabaseError, LeaseLost
from aquasmart_cloud.store import leases
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.leases import LEASE_MS, Lease

RENEW_EVERY_S = 3.0
LONGEST_SILENCE_S = 240.0
"""A run of a job that lasts longer has hung: it does one portion."""

log = logging.getLogger("aquasmart.worker")


class Tenure:
    """A lease being held: `with Tenure(…) as tenure`. It is given back at the end, where it is still ours."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self.lease = lease
        self._database = database
        self._over = threading.Event()
        self._ended = threading.Event()
        self._life_mono = time.monotonic()
        self._renewed_mono = time.monotonic()
        self._thread = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)

    @property
    def over(self) -> bool:
        """Whether the lease is lost, or must be taken for lost since it could not be renewed in time."""
        return self._over.is_set()

    def show_life(self) -> None:
        """The work goes on: called between runs, never from a thread that only waits."""
        self._life_mono = time.monotonic()

    def __enter__(self) -> Tenure:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LEASE_MS / 1000)
        if not self.over:
            try:
                leases.release(self._database, self.lease)
            except DatabaseError as fault:
                log.warning("the lease could not be given back, it runs out by itself: %s", fault)

    def _keep_renewing(self) -> None:
        try:
            while not self._ended.wait(RENEW_EVERY_S):
                self._renew()
                if self.over:
                    return
        finally:
            self._database.close()  # this thread's connection

    def _renew(self) -> None:
        if time.monotonic() - self._life_mono > LONGEST_SILENCE_S:
            log.error("no sign of life from the running job for %d s: the lease is let go", LONGEST_SILENCE_S)
            self._over.set()
            return
        try:
            leases.renew(self._database, self.lease)
            self._renewed_mono = time.monotonic()
        except LeaseLost:
            self._over.set()
        except DatabaseError as fault:
            log.warning("the lease could not be renewed: %s", fault)
            if time.monotonic() - self._renewed_mono > LEASE_MS / 1000:
                self._over.set()
