"""How many rows the next request carries: grown while the link keeps up, halved when it does not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_START = 50
QUICK_S = 5.0
"""An answer within this is quick: far below every timeout, so that doubling does not run into one."""
WIRE_LIMIT_BYTES = 1 << 20
"""No body is longer than this on the wire, however many rows that is."""
PLAIN_LIMIT_BYTES = 7 << 20
"""Nor longer than this unpacked: the cloud refuses 8 MiB."""
PATIENCE = 16
"""So many full batches are delivered after a 413 before a larger one is tried."""
BREAKS_TO_HALVE = 2
"""So many connections lost in a row while a batch was under way: once is the weather, then it is the size."""


@dataclass(slots=True)
class BatchSize:
    """The present number of rows per request, from 50 up to `most` (docs/protocol.md §6: 413 halves)."""

    most: int = 2_000
    rows: int = SMALLEST_START
    _breaks: int = 0
    _not_before: int = 0
    """Full batches to be delivered before it grows again."""

    def limit(self, most: int) -> None:
        """Another `most`, from the next request on."""
        self.most, self.rows = most, min(self.rows, most)

    def delivered(self, took_s: float, rows_sent: int) -> None:
        """Double after a full batch that was answered quickly."""
        self._breaks = 0
        if took_s <= QUICK_S and rows_sent >= self.rows:
            if self._not_before == 0:
                self.rows = min(self.most, self.rows * 2)
            self._not_before = max(0, self._not_before - 1)

    def too_much(self, rows_sent: int) -> None:
        """Halve what was sent: the cloud or something before it said 413. It stays so for a while, lest every second
        request should be one too large."""
        self._not_before = PATIENCE
        self.rows = max(1, min(self.rows, rows_sent) // 2)

    def too_slow(self, rows_sent: int) -> None:
        """Halve what was sent: nothing answered in time. Not below the start: a dead link says nothing of size."""
        self.rows = max(min(self.rows, SMALLEST_START), min(self.rows, rows_sent) // 2)

    def broke_off(self, rows_sent: int) -> bool:
        """The connection was lost while the batch was under way. True where that has halved it."""
        self._breaks += 1
        if self._breaks < BREAKS_TO_HALVE:
            return False
        self._breaks = 0
        self.too_slow(rows_sent)
        return True


def too_long(plain: int, packed: int) -> bool:
    """Whether a body is longer, in bytes, than one request may be."""
    return packed > WIRE_LIMIT_BYTES or plain > PLAIN_LIMIT_BYTES
