"""What was read from the database within the last second, for what every request asks again.

Only look-ups that may be a second old go through here, and each says why (docs/decisions/0048). Monotonic time, this
process's memory. A writer in the same process makes its own change act at once by `forget`; a change by another
process acts within `LASTS_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

LASTS_S = 1.0
MOST = 10_000
"""Entries kept: all of them are let go beyond that, which costs each one more look-up."""

T = TypeVar("T")


class Recent:
    """Values by key, each at most `LASTS_S` old."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], T], keep: Callable[[T], bool] = lambda _: True) -> T:
        """The value, read anew where it is not recent. One that `keep` denies is read anew each time."""
        now_s = self._clock_s()
        kept = self._kept.get(key)
        if kept is not None and now_s < kept[0]:
            return cast("T", kept[1])
        changes = self._changes
        found = read()
        if keep(found):
            with self._lock:
                # A value that was read before somebody changed it must not outlive that change.
                if changes == self._changes:
                    if len(self._kept) >= MOST:
                        self._kept.clear()
                    self._kept[key] = (now_s + LASTS_S, found)
        return found

    def forget(self) -> None:
        """Something has been changed by this process: everything is read anew."""
        with self._lock:
            self._changes += 1
            self._kept.clear()
