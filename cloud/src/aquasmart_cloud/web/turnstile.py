"""How often each sender may ask, as a refusal with a true Retry-After; and how large the fleet is, looked up seldom.

Whom the rates are counted by, and where, is store.rates. Only those who have shown who they are get in here; for
strangers there is web.doorstep.
"""

from __future__ import annotations

import zlib

from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.rates import Counter
from aquasmart_cloud.store.stations import Stations

SPREAD_S = 5
"""Stations that are told to wait come back spread over so much more."""
FLEET_EVERY_MS = 60_000


class Turnstile:
    """One application's rates of stations and of intake clients."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    def enter(self, station_id: str, rate: Rate | None, now_ms: int) -> None:
        """Count one request of a station. Errors: Refusal `rate-limited` with its Retry-After."""
        if wait_s := self._wait_s(f"station:{station_id}", rate, now_ms):
            wait_s += zlib.crc32(station_id.encode()) % SPREAD_S
            raise Refusal("rate-limited", "this station asks more often than it may", retry_after_s=wait_s)

    def let_client(self, client_id: str, rate: Rate | None, now_ms: int) -> None:
        """Count one request of an intake client. Errors: Refusal `rate-limited` with its Retry-After."""
        if wait_s := self._wait_s(f"client:{client_id}", rate, now_ms):
            raise Refusal(
                "rate-limited",
                f"this client sends more often than it may; try again in {wait_s} s",
                retry_after_s=wait_s,
            )

    def _wait_s(self, key: str, rate: Rate | None, now_ms: int) -> int:
        return 0 if rate is None else -(-self.counter.wait_us(key, rate, now_ms * 1_000) // 1_000_000)


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
