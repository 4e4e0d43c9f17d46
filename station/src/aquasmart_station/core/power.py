"""Saving power: what sync does otherwise while the supply is low or the board is throttled. Pure.

The reader finds these conditions (core/diagnosis.py) and shows them in live.db; sync looks there now and then.
Nothing is held back for good and no promise changes: requests are only fewer, each with more in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .diagnosis import HOT, RAIL_LOW, SLOWED

SAVING = frozenset({RAIL_LOW, SLOWED, HOT})
"""Conditions under which power is saved."""

FACTOR = 4
"""So much longer sync lingers, and so much higher is the cap of its backoff."""


def slowness(conditions: Iterable[str]) -> int:
    """The factor on linger and backoff cap under `conditions`, reasons as live.db has them; 1: as usual."""
    return 1 if SAVING.isdisjoint(conditions) else FACTOR
