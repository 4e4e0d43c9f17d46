"""One table of a TOML file: typed access that collects faults instead of stopping at the first.

Knows no setting. Decimals stay decimals: a number with a point never passes through a float unless a setting asks.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any


class Table:
    """One table of the file: typed access that collects faults instead of stopping at the first."""

    def __init__(self, name: str, values: object, faults: list[str]) -> None:
        self._prefix = f"{name}." if name else ""
        self._faults = faults
        self._taken: set[str] = set()
        if not isinstance(values, dict):
            faults.append(f"{name or 'the file'} must be a table")
            values = {}
        self._values: dict[str, Any] = values

    def fault(self, key: str, text: str) -> None:
        self._faults.append(f"{self._prefix}{key}: {text}")

    def raw(self, key: str) -> Any:
        self._taken.add(key)
        return self._values.get(key)

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value = self.raw(key)
        if value is None:
            if default is None:
                self.fault(key, "is missing")
            return default or ""
        if not isinstance(value, str) or not value:
            self.fault(key, f"must be text, not {value!r}")
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.fault(key, f"{value!r} must match {pattern.pattern}")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
            value = None
        # By decimals: as a float 0.05 is above 0.05, and would refuse what its own message allows.
        if value is None or not Decimal(str(least)) <= value <= Decimal(str(most)):
            self.fault(key, f"must be a number from {least:g} to {most:g}")
            return default
        return float(value)

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(key, f"must be a whole number from {least} to {most}, not {value!r}")
            return default
        return value

    def yes_no(self, key: str) -> bool | None:
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            self.fault(key, f"must be true or false, not {value!r}")
            return None
        return value

    def exact(self, key: str) -> Fraction | None:
        """A number exactly as it is written, in quotes or not: decimals never pass through a float."""
        value = self.raw(key)
        if value is None:
            return None
        try:
            exact = Fraction(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        except (ValueError, ZeroDivisionError, OverflowError):
            exact = None
        if exact is None or exact <= 0:
            self.fault(key, f"must be a number above 0 such as 450.5, not {str(value)!r}")
            return None
        return exact

    def done(self) -> None:
        for key in self._values.keys() - self._taken:
            self.fault(key, "is not a setting of AquaSmart")
