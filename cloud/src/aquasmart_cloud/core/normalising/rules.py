"""What an event of a foreign system is made of, and what is known of one client's way to write it.

Definitions only. Nothing here reads a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

DateOrder = Literal["dmy", "mdy"]
DecimalMark = Literal[".", ","]

ID, SOURCE, METRIC, AMOUNT, TIMESTAMP, STATION = "id", "source", "metric", "amount", "timestamp", "station"

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ID: ("id", "event_id", "eventId"),
        SOURCE: ("source", "client", "client_id", "clientId", "sender"),
        METRIC: ("metric", "type", "event_type", "eventType", "name"),
        AMOUNT: ("amount", "value", "quantity", "total", "sum"),
        TIMESTAMP: ("timestamp", "time", "date", "created_at", "createdAt", "event_time"),
        STATION: ("station", "station_id", "stationId"),
    }
)
"""Names under which clients send each field; where several are present the earlier one counts."""

NESTED = "payload"
"""An object under this name holds the event, or the rest of it."""

MAX_TEXT = 200
"""Characters of an id or a name."""
MAX_WARNINGS = 50
"""Warnings told of one event; the rest are summed up."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One client's way of writing events; each part may be changed while the cloud runs.

    `fields` maps a name of theirs to one of ours, before any alias; a dot leads into an object. `defaults` are
    values for fields that an event does not have; there is none for `timestamp`: a guess would count twice.
    """

    sender: str
    """Who is authenticated: the event's source where it names none."""
    date_order: DateOrder = "dmy"
    """How `01/03/2024` is read: day first, or month first."""
    decimal_mark: DecimalMark = "."
    fields: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def mapping_faults(fields: Any, defaults: Any) -> list[str]:
    """What is wrong with a mapping that somebody wants to set; empty where nothing is."""
    faults = []
    if not isinstance(fields, dict) or not isinstance(defaults, dict):
        return ["a mapping is two objects, 'fields' and 'defaults'"]
    known = ", ".join(ALIASES)
    for theirs, ours in fields.items():
        if not theirs or ours not in ALIASES:
            faults.append(f"fields: {theirs!r} leads to {ours!r}, which is none of {known}")
    for name, value in defaults.items():
        if name not in ALIASES or name in {TIMESTAMP, ID}:
            faults.append(f"defaults: {name!r} cannot have a default")
        elif not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            faults.append(f"defaults: that of {name!r} must be a text of 1 to {MAX_TEXT} characters")
    return faults
