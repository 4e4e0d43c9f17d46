"""How often each station may ask, counted in this process's memory; and how large the fleet is, looked up seldom.

Each gunicorn worker counts for itself, so that with several a station gets its rate from each. Nothing is stored: a
restart forgives.
"""

from __future__ import annotations

import threading
import zlib

from aquasmart_cloud.core.policy import Rate, next_allowed
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.stations import Stations

SPREAD_S = 5
"""Stations that are told to wait come back spread over so much more."""
FLEET_EVERY_MS = 60_000


class Turnstile:
    """One application's counts. Only stations that have signed rightly get in here: their number bounds the memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_us: dict[str, int] = {}

    def enter(self, station_id: str, rate: Rate | None, now_ms: int) -> None:
        """Count one request. Errors: Refusal `rate-limited` with its Retry-After."""
        if rate is None:
            return
        with self._lock:
            due_us, wait_us = next_allowed(rate, self._due_us.get(station_id, 0), now_ms * 1_000)
            self._due_us[station_id] = due_us
        if wait_us:
            wait_s = -(-wait_us // 1_000_000) + zlib.crc32(station_id.encode()) % SPREAD_S
            raise Refusal("rate-limited", "this station asks more often than it may", retry_after_s=wait_s)


class FleetSize:
    """How many stations there are, at most a minute old: stations spread what they send at once over so many."""

    def __init__(self, stations: Stations) -> None:
        self._stations = stations
        self._counted: tuple[int, int] | None = None

    def at(self, now_ms: int) -> int:
        """Active stations. Errors: DatabaseError."""
        if self._counted is None or not 0 <= now_ms - self._counted[0] < FLEET_EVERY_MS:
            self._counted = (now_ms, self._stations.active())
        return self._counted[1]
