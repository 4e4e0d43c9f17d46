"""The floor of the system clock: a time that has certainly passed (docs/protocol.md §8). Pure.

Never taken from the local clock: one glitch to 2038 would lift it for ever, and TLS would refuse every certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

from .phrases import Phrase

EARLIEST_PLAUSIBLE_MS = 1_735_689_600_000
"""2025-01-01: this software did not exist before."""


@dataclass(frozen=True, slots=True)
class ClockFloor:
    """What is known to have passed, each None where it is not known."""

    built_ms: int | None
    """When the image was built."""
    cloud_ms: int | None
    """The cloud's time in the last answer whose signature verified."""

    @property
    def at_ms(self) -> int:
        """The later of them."""
        return max(EARLIEST_PLAUSIBLE_MS, self.built_ms or 0, self.cloud_ms or 0)

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.cloud_ms is not None and self.cloud_ms == self.at_ms:
            return Phrase("the cloud's last verified answer")
        if self.built_ms == self.at_ms:
            return Phrase("the image's build time")
        return Phrase("the age of this software")

    def behind_ms(self, wall_ms: int) -> int:
        """How far a clock stands below the floor; 0 where it does not."""
        return max(0, self.at_ms - wall_ms)
