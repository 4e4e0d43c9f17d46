"""The LED service: looks at live.db once a second and drives the LED between. It changes nothing else.

The LED itself proves the service alive: what drives it is this loop, so a loop that hangs leaves it as it is, which no
pattern does for longer than two seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core.led import PATTERNS, Health, Pattern
from ..core.ports import Clock, Watchdog

LOOK_EVERY_MS = 1_000
LOOK_FOR_LED_EVERY_MS = 30_000


class Led(Protocol):
    """What shines. Raises OSError."""

    def take(self) -> None: ...

    def light(self, *, on: bool) -> None: ...

    def release(self) -> None: ...


class LedService:
    """`cycle` does what is due now and returns how long nothing is, in milliseconds."""

    def __init__(
        self, find: Callable[[], Led | None], look: Callable[[], Health], clock: Clock, watchdog: Watchdog
    ) -> None:
        """`find` gives the LED, None where there is none yet; `look` says how the station is."""
        self._find, self._look, self._clock, self._watchdog = find, look, clock, watchdog
        self._led: Led | None = None
        self._health = Health.DEAD
        self._since_ms = 0
        self._look_at_ms = 0
        self._find_at_ms = 0

    def cycle(self) -> int:
        now_ms = self._clock.mono_ns() // 1_000_000
        if now_ms >= self._look_at_ms:
            self._look_at_ms = now_ms + LOOK_EVERY_MS
            self._see(now_ms)
            self._watchdog.pet()
        if self._led is None:
            return self._look_at_ms - now_ms
        pattern, elapsed_ms = self._pattern(), now_ms - self._since_ms
        try:
            self._led.light(on=pattern.lit_at(elapsed_ms))
        except OSError as fault:
            self._lost(fault, now_ms)
            return self._look_at_ms - now_ms
        return max(1, min(pattern.next_change_ms(elapsed_ms), self._look_at_ms - now_ms))

    def close(self) -> None:
        if self._led is not None:
            self._led.release()

    def _pattern(self) -> Pattern:
        return PATTERNS[self._health]

    def _see(self, now_ms: int) -> None:
        health = self._look()
        if health is not self._health:
            self._health, self._since_ms = health, now_ms
        if self._led is None and now_ms >= self._find_at_ms:
            self._find_at_ms = now_ms + LOOK_FOR_LED_EVERY_MS
            self._take(now_ms)
        if self._led is not None:
            self._watchdog.status(f"{health.word}: {health.remedy}")

    def _take(self, now_ms: int) -> None:
        led = self._find()
        if led is None:
            self._watchdog.status("this board has no LED for us: name one in [led] of the configuration")
            return
        try:
            led.take()
        except OSError as fault:
            self._lost(fault, now_ms)
            return
        self._led, self._since_ms = led, now_ms

    def _lost(self, fault: OSError, now_ms: int) -> None:
        """Unplugged, or not ours to write: it is tried again."""
        self._led, self._find_at_ms = None, now_ms + LOOK_FOR_LED_EVERY_MS
        self._watchdog.status(f"the LED cannot be driven: {fault.strerror or fault}; tried again every 30 s")
