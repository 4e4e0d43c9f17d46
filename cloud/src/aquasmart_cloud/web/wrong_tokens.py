"""How many wrong tokens an address may try: a bound on noise and on guessing, per process.

Only counting lives here. The clock is a parameter; memory is bounded, whoever knocks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

ALLOWED = 10
WINDOW_S = 60.0
ADDRESSES_KEPT = 1_000


class WrongTokens:
    """Wrong tokens of the last minute, by address; the addresses seen longest ago are forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, now_mono: float) -> int:
        """Whole seconds until this address may try again; 0: now."""
        with self._lock:
            times = self._seen.get(address, deque())
            while times and now_mono - times[0] >= WINDOW_S:
                times.popleft()
            return 0 if len(times) < ALLOWED else int(WINDOW_S - (now_mono - times[0])) + 1

    def count(self, address: str, now_mono: float) -> None:
        """One more wrong token from this address."""
        with self._lock:
            self._seen.setdefault(address, deque(maxlen=ALLOWED)).append(now_mono)
            self._seen.move_to_end(address)
            while len(self._seen) > ADDRESSES_KEPT:
                self._seen.popitem(last=False)
