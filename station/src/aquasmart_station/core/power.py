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
class Tempo:
    """How much time sync takes itself."""

    linger_s: float
    backoff_cap_s: float
    saving: bool = False


def tempo(conditions: Iterable[str], *, linger_s: float, backoff_cap_s: float) -> Tempo:
    """The tempo under `conditions`, reasons as live.db has them."""
    if SAVING.isdisjoint(conditions):
        return Tempo(linger_s, backoff_cap_s)
    return Tempo(linger_s * FACTOR, backoff_cap_s * FACTOR, saving=True)
