"""An allowance of bytes for metered links: so many an hour, and a burst that may be saved up. Pure.

Used by whoever sends. A request's size is known only once it is packed, so a request may go while anything at all is
left, and what it takes too much is waited for afterwards: over any time t at most `burst + rate · t` bytes and one
request more.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3_600.0
OVERHEAD_BYTES = 1_500
"""What a request costs beside its body on a connection that is kept: our headers (430 bytes), the cloud's
answer (260 and 400), and about 400 for TCP, IP and TLS around them."""


@dataclass(slots=True)
class TokenBucket:
    """`bytes_per_hour` None: a link that is not metered; nothing ever waits."""

    bytes_per_hour: int | None = None
    burst_bytes: int = 0
    _level: float | None = None
    _at_s: float = 0.0

    def spend(self, sent_bytes: int, now_s: float) -> None:
        """So many bytes have gone. What is owed afterwards is waited for."""
        if self.bytes_per_hour is not None:
            self._level = self._filled(now_s) - sent_bytes
            self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until anything may be sent; 0: now."""
        if self.bytes_per_hour is None:
            return 0.0
        owed = 1.0 - self._filled(now_s)
        return max(0.0, owed * HOUR_S / self.bytes_per_hour)

    def _filled(self, now_s: float) -> float:
        """The level at `now_s`; full at the start. A clock that went back adds nothing."""
        assert self.bytes_per_hour is not None
        most = float(max(self.burst_bytes, 1))
        if self._level is None:
            return most
        return min(most, self._level + max(0.0, now_s - self._at_s) * self.bytes_per_hour / HOUR_S)
