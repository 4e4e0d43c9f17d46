"""How large the fleet is, also for a process that has heard nothing yet: kept in ops.db, written when it changes much.

After a power cut in a whole quarter every station's first request comes with the link. A size that was forgotten would
have them all come within a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..adapters.fleet_row import keep_fleet, kept_fleet
from ..adapters.ops import OpsFile
from ..core.errors import OpsError
from ..core.pacing import fleet_of, worth_keeping
from .sync_display import Figures


class FleetMemory:
    """Keeps `figures.fleet`, which the lanes spread by. Raises OpsError where ops.db cannot be read at the start."""

    def __init__(self, ops: OpsFile, figures: Figures) -> None:
        self._ops, self._figures = ops, figures
        with ops.reading() as connection:
            self._kept = figures.fleet = kept_fleet(connection)

    def heard(self, data: Mapping[str, Any]) -> None:
        """Take note of a verified answer's data. Raises Fenced; a card that takes nothing is asked again next time."""
        fleet = self._figures.fleet = fleet_of(data, self._figures.fleet)
        if not worth_keeping(fleet, self._kept):
            return
        try:
            with self._ops.writing() as connection:
                keep_fleet(connection, fleet)
        except OpsError:
            return
        self._kept = fleet
