"""A courier whose settings may change while it runs: the next request goes by a new one.

A request under way ends with the courier that it began with, by the times it was given.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core.ports import Courier, InFlight


class RenewableCourier:
    """Passes on to what `make(connect_timeout_s, read_timeout_s)` made last."""

    def __init__(self, make: Callable[[float, float], Courier], connect_s: float, read_s: float) -> None:
        self._make, self._times = make, (connect_s, read_s)
        self._courier = make(connect_s, read_s)

    def renew(self, connect_s: float, read_s: float) -> None:
        """Other times from the next request on; the same ones change nothing."""
        if (connect_s, read_s) != self._times:
            self._times = (connect_s, read_s)
            self._courier = self._make(connect_s, read_s)

    def post(self, target: str, headers: dict[str, str], body: bytes) -> InFlight:
        return self._courier.post(target, headers, body)

    def get(self, target: str, headers: dict[str, str]) -> InFlight:
        return self._courier.get(target, headers)

    def abandon(self) -> None:
        self._courier.abandon()
