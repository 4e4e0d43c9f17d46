"""One foreign event, normalised: every field read, every fault named at once.

Pure. What came stays beside it (the store keeps both); nothing is guessed but what a warning says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from aquasmart_cloud.core.problems import Fault

from .amounts import AmountError, amount_text, read_amount
from .fields import Found, gather
from .instants import InstantError, iso, read_instant
from .rules import AMOUNT, ID, MAX_TEXT, MAX_WARNINGS, METRIC, SOURCE, STATION, TIMESTAMP, Rules

T = TypeVar("T")

VERSION = 1
"""Of these rules. Raise it with any change that reads an event otherwise: `aquasmart-cloud reprocess` then tries
those again that an older version could not read."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """An event in its one form. `given_id` is the sender's own id; `warnings` say what was assumed or ignored."""

    given_id: str | None
    source: str
    metric: str
    amount: Decimal
    at_ns: int
    station: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def at_ms(self) -> int:
        """Unix milliseconds, rounded down; the exact instant is `at_ns`."""
        return self.at_ns // 1_000_000

    def document(self) -> dict[str, Any]:
        """As stored and shown; the amount is a text, so that no reader rounds it."""
        return {
            "id": self.given_id,
            "source": self.source,
            "metric": self.metric,
            "amount": amount_text(self.amount),
            "timestamp": iso(self.at_ns),
            "station": self.station,
        }


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that cannot be read, with everything that is wrong with it."""

    faults: tuple[Fault, ...]
    warnings: tuple[str, ...] = ()


def normalise(event: Any, rules: Rules) -> Normalised | Rejected:
    """Read one event by a client's rules. Never raises for what was sent."""
    if not isinstance(event, dict):
        return Rejected((Fault("$", "an event is a JSON object"),))
    gathered = gather(event, rules)
    reader = _Reader(gathered.fields, gathered.warnings)
    given_id = reader.text(ID, required=False)
    source = reader.text(SOURCE, required=False) or rules.sender
    metric = reader.text(METRIC, required=True)
    amount = reader.value(AMOUNT, lambda value: read_amount(value, rules.decimal_mark))
    instant = reader.value(TIMESTAMP, lambda value: read_instant(value, rules.date_order))
    station = reader.text(STATION, required=False)
    if instant is not None and instant.assumed:
        reader.warnings.append(f"{reader.where(TIMESTAMP)} {instant.assumed}")
    warnings = _told(reader.warnings)
    if reader.faults or metric is None or amount is None or instant is None:
        return Rejected(tuple(reader.faults), warnings)
    return Normalised(given_id, source, metric, amount, instant.at_ns, station, warnings)


class Normaliser(NamedTuple):
    """A version of the rules above, and the function that applies it."""

    version: int
    read: Callable[[Any, Rules], Normalised | Rejected]


CURRENT = Normaliser(VERSION, normalise)


class _Reader:
    """Reads fields one by one and gathers faults, so that a sender is told of all at once."""

    def __init__(self, fields: dict[str, Found], warnings: list[str]) -> None:
        self._fields = fields
        self.warnings = warnings
        self.faults: list[Fault] = []

    def where(self, name: str) -> str:
        """Where a field stood, or its own name."""
        found = self._fields.get(name)
        return found.where[:60] if found else name

    def value(self, name: str, read: Callable[[Any], T]) -> T | None:
        """A required field through its reader; None where that is a fault."""
        found = self._fields.get(name)
        if found is None:
            self.faults.append(Fault(name, "is missing"))
            return None
        try:
            return read(found.value)
        except (AmountError, InstantError) as error:
            self.faults.append(Fault(self.where(name), str(error)))
            return None

    def text(self, name: str, *, required: bool) -> str | None:
        """A name or id: trimmed, in one Unicode form. Whole numbers are taken as text."""
        found = self._fields.get(name)
        if found is None:
            if required:
                self.faults.append(Fault(name, "is missing"))
            return None
        fault = ""
        value = found.value
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            fault = "is not a text"
        else:
            value = unicodedata.normalize("NFC", value.strip())
            if len(value) > MAX_TEXT:
                fault = f"is longer than {MAX_TEXT} characters"
            elif any(unicodedata.category(each) in {"Cc", "Cs"} for each in value):
                fault = "has control characters"
        if fault:
            self.faults.append(Fault(self.where(name), fault))
            return None
        return str(value)


def _told(warnings: list[str]) -> tuple[str, ...]:
    if len(warnings) <= MAX_WARNINGS:
        return tuple(warnings)
    return (*warnings[:MAX_WARNINGS], f"and {len(warnings) - MAX_WARNINGS} more")
