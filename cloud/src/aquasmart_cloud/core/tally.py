"""Figures of many amounts that can be added up in any order: count, sum, least, most, percentiles.

Pure; whole billionths throughout, so a sum is exact however long it grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .normalising.amounts import from_nano
from .sketch import Sketch

PERCENTS = (50, 90, 99)


@dataclass(slots=True)
class Tally:
    """Nothing counted yet, until `add` or `merge`."""

    count: int = 0
    sum_nano: int = 0
    least_nano: int = 0
    most_nano: int = 0
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, nano: int) -> None:
        """Count one amount, in billionths, above zero."""
        self.merge(Tally(1, nano, nano, nano, Sketch.of((nano,))))

    def merge(self, other: Tally) -> None:
        """Count everything that `other` has counted."""
        if not other.count:
            return
        self.least_nano = min(self.least_nano, other.least_nano) if self.count else other.least_nano
        self.most_nano = max(self.most_nano, other.most_nano)
        self.count += other.count
        self.sum_nano += other.sum_nano
        self.sketch.merge(other.sketch)

    def document(self) -> dict[str, Any]:
        """As shown. Amounts are texts, so that no reader rounds them; the mean is rounded to a billionth."""
        mean_nano = round(Fraction(self.sum_nano, self.count)) if self.count else 0
        named = {"sum": self.sum_nano, "min": self.least_nano, "max": self.most_nano, "mean": mean_nano}
        percentiles = {
            f"p{percent}": self.sketch.quantile(percent, self.least_nano, self.most_nano)
            for percent in PERCENTS
            if self.count
        }
        return {"count": self.count} | {name: from_nano(nano) for name, nano in (named | percentiles).items()}
