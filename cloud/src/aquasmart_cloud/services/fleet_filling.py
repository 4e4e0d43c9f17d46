"""The whole fleet's figures, as a job: filled in from what the stations' logs tell, some seconds behind them.

What makes them exact is in store.fleet_rollups; here is only what is done next, and for how long at a time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from aquasmart_cloud.store import fleet_rollups
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.fleet_rollups import COMPLETE, EMPTYING, FILLING, Untold

_PORTION_S = 3.0
_LOOK_EVERY = 12

log = logging.getLogger("aquasmart.worker")


@dataclass(slots=True)
class FleetFilling:
    """The job."""

    database: Database
    name: str = "fleet-rollups"
    every_s: int = 5
    _rounds: int = 0
    _next_station: str = ""
    """Where the last run was cut off; from the start where this is lost, to the same end."""

    def cycle(self, now_ms: int) -> str:
        """Empty, cover, or add, whatever is next, for some seconds."""
        until_mono = time.monotonic() + _PORTION_S
        state = fleet_rollups.state(self.database)
        try:
            if state in ("", EMPTYING):
                if not self._empty(state, now_ms, until_mono):
                    return "emptying"
                state = FILLING
            covered, all_covered = self._cover(until_mono) if self._looks(state) else (0, False)
            rows, all_added = self._add(until_mono)
        except Untold as fault:
            # A version without these changes still answers requests somewhere: what it logged is in the rollups only.
            log.warning("a request was logged without its changes (%s): filling anew", fault)
            fleet_rollups.refill(self.database, now_ms)
            return "filling anew: software of an older version still takes requests"
        if state == FILLING and all_covered and all_added:
            fleet_rollups.advance(self.database, FILLING, COMPLETE, now_ms)
        return _said(covered, rows)

    def _looks(self, state: str) -> bool:
        """New stations are rare, and looking for one reads all: once complete, every twelfth time."""
        self._rounds += 1
        return state != COMPLETE or self._rounds % _LOOK_EVERY == 1

    def _empty(self, state: str, now_ms: int, until_mono: float) -> bool:
        """Whether all is gone, and filling may begin."""
        if not state:
            fleet_rollups.refill(self.database, now_ms)
        while fleet_rollups.empty(self.database):
            if time.monotonic() > until_mono:
                return False
        fleet_rollups.advance(self.database, EMPTYING, FILLING, now_ms)
        self._next_station = ""
        return True

    def _cover(self, until_mono: float) -> tuple[int, bool]:
        """Stations that are not in the figures yet: how many were finished, and whether that was all."""
        finished = 0
        while found := fleet_rollups.uncovered(self.database):
            for station_id in found:
                while not fleet_rollups.cover(self.database, station_id):
                    if time.monotonic() > until_mono:
                        return finished, False
                finished += 1
                if time.monotonic() > until_mono:
                    return finished, False
        return finished, True

    def _add(self, until_mono: float) -> tuple[int, bool]:
        """Rows of the logs that were added, and whether that was all."""
        rows = 0
        while True:
            added, following = fleet_rollups.add_changes(self.database, self._next_station)
            rows += added
            self._next_station = following or ""
            if following is None:
                return rows, True
            if time.monotonic() > until_mono:
                return rows, False


def _said(covered: int, rows: int) -> str:
    said = [f"{covered} stations taken in"] if covered else []
    said += [f"{rows} requests added up"] if rows else []
    return "; ".join(said)
