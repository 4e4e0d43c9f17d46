"""Saving power: what sync does otherwise while the supply is low or the board is throttled. Pure.

The reader finds these conditions (core/diagnosis.py) and shows them in live.db; sync looks there now and then.
Nothing is held back for good and no promise changes: requests are only fewer, each with more in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .diagnosis import HOT, RAIL_LOW, SLOWED

SAVING = frozenset({RAIL_LOW, SLOWED, HOT})
"""Conditions under which power is saved."""

FACTOR = 4
"""So much longer sync lingers, and so much higher is the cap of its backoff."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How sync takes its time."""

    linger_s: float
    backoff_cap_s: float
    saving: bool = False


def pace(conditions: Iterable[str], *, linger_s: float, backoff_cap_s: float) -> Pace:
    """The pace under `conditions`, reasons as live.db has them."""
    if SAVING.isdisjoint(conditions):
        return Pace(linger_s, backoff_cap_s)
    return Pace(linger_s * FACTOR, backoff_cap_s * FACTOR, saving=True)
