"""How many rows the next request carries: grown while the link keeps up, halved when it does not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_START = 50
QUICK_S = 5.0
"""An answer within this is quick: far below every timeout, so that doubling does not run into one."""


@dataclass(slots=True)
class BatchSize:
    """The present number of rows per request, from 50 up to `most` (docs/protocol.md §6: 413 halves)."""

    most: int = 2_000
    rows: int = SMALLEST_START

    def delivered(self, took_s: float, rows_sent: int) -> None:
        """Double after a full batch that was answered quickly."""
        if took_s <= QUICK_S and rows_sent >= self.rows:
            self.rows = min(self.most, self.rows * 2)

    def too_much(self, rows_sent: int) -> None:
        """Halve what was sent: the cloud or something before it said 413, or nothing answered in time."""
        self.rows = max(1, min(self.rows, rows_sent) // 2)
