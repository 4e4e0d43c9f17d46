"""Mean and standard deviation of the last so many samples, kept up by Welford's method.

Pure. Floats are right here: these figures judge, they are never booked. What enters and leaves one by one would
drift: the error of a sample of 10¹² stays behind when it leaves a window of units. So the moments are worked out
anew from the window's own samples once in a window's length, and whenever most of their digits have cancelled.
"""

from __future__ import annotations

from collections import deque
from math import fsum, sqrt

CANCELLED = 1e-6
"""The moments are renewed when a removal leaves less than this part of what they were: six of sixteen digits."""


class RollingMoments:
    """The moments of a window. Amortised constant time per sample, whatever the window."""

    def __init__(self, window: int) -> None:
        if window < 2:
            raise ValueError(f"a window needs 2 or more samples, not {window}")
        self.window = window
        self._samples: deque[float] = deque()
        self._mean = self._m2 = 0.0
        self._highest_m2 = 0.0
        self._reach = 0.0
        self._since_renewed = 0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def mean(self) -> float:
        return self._mean

    @property
    def sd(self) -> float:
        """Standard deviation of the population in the window; 0 below two samples."""
        return sqrt(max(self._m2, 0.0) / len(self._samples)) if len(self._samples) > 1 else 0.0

    def add(self, value: float) -> None:
        """Take a sample in; the oldest leaves a full window (Welford 1962, and its inverse for what leaves)."""
        if len(self._samples) == self.window:
            self._remove(self._samples.popleft())
        self._samples.append(value)
        delta = value - self._mean
        self._mean += delta / len(self._samples)
        self._m2 += delta * (value - self._mean)
        self._highest_m2 = max(self._highest_m2, self._m2)
        self._reach = max(self._reach, abs(value))
        self._since_renewed += 1
        if self._since_renewed >= self.window or self._has_cancelled():
            self._renew()

    def _remove(self, value: float) -> None:
        count = len(self._samples)
        delta = value - self._mean
        self._mean -= delta / count
        self._m2 -= delta * (value - self._mean)

    def _has_cancelled(self) -> bool:
        return self._m2 < CANCELLED * self._highest_m2 or abs(self._mean) < CANCELLED * self._reach

    def _renew(self) -> None:
        """Both moments from the samples themselves, in two passes."""
        samples, count = self._samples, len(self._samples)
        self._mean = fsum(samples) / count
        self._m2 = fsum((value - self._mean) ** 2 for value in samples)
        self._highest_m2, self._since_renewed = self._m2, 0
        self._reach = max(abs(value) for value in samples)
