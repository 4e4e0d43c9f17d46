"""A table of a settings file: typed access that collects faults instead of stopping at the first.

What the settings are, and which values make sense, is said by whoever asks (config.py). Unknown keys are faults, too.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .core.phrases import Phrase, joined


class Table:
    """One table, taken key by key; `done` names what nobody has taken. `faults` is added to."""

    def __init__(self, name: str, values: object, faults: list[str]) -> None:
        self._prefix = f"{name}." if name else ""
        self._faults = faults
        self._taken: set[str] = set()
        if not isinstance(values, dict):
            faults.append(Phrase("{name} must be a table", name=name or Phrase("the file")))
            values = {}
        self._values: dict[str, Any] = values

    def fault(self, key: str, text: str) -> None:
        self._faults.append(joined(": ", (f"{self._prefix}{key}", text)))

    def raw(self, key: str) -> Any:
        self._taken.add(key)
        return self._values.get(key)

    def text(self, key: str, pattern: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value = self.raw(key)
        if value is None:
            if default is None:
                self.fault(key, Phrase("is missing"))
            return default or ""
        if not isinstance(value, str) or not value:
            self.fault(key, Phrase("must be text, not {value!r}", value=value))
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.fault(key, Phrase("{value!r} must match {pattern}", value=value, pattern=pattern.pattern))
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
            value = None
        # By decimals: as a float 0.05 is above 0.05, and would refuse what its own message allows.
        if value is None or not Decimal(str(least)) <= value <= Decimal(str(most)):
            self.fault(key, Phrase("must be a number from {least:g} to {most:g}", least=least, most=most))
            return default
        return float(value)

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(
                key,
                Phrase(
                    "must be a whole number from {least} to {most}, not {value!r}", least=least, most=most, value=value
                ),
            )
            return default
        return value

    def yes_no(self, key: str) -> bool | None:
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            self.fault(key, Phrase("must be true or false, not {value!r}", value=value))
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
            self.fault(key, Phrase("must be a number above 0 such as 450.5, not {value!r}", value=str(value)))
            return None
        return exact

    def done(self) -> None:
        for key in self._values.keys() - self._taken:
            self.fault(key, Phrase("is not a setting of AquaSmart"))
