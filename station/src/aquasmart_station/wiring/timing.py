"""What the station knows of the time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from ..adapters.clock import SystemClock, boot_id
from ..adapters.log_clock import boot_offsets, cloud_time_ms
from ..adapters.log_file import open_log_read_only, trouble
from ..adapters.system_clock import built_ms
from ..config import Config
from ..core.boot_clock import BootOffset
from ..core.clock_floor import ClockFloor
from ..core.errors import LogError
from ..core.phrases import Phrase


@dataclass(frozen=True, slots=True)
class TimeReport:
    """Times in Unix milliseconds UTC."""

    wall_ms: int
    quality: str
    floor_ms: int
    floor_source: str
    behind_ms: int
    """How far the clock stands below its floor."""
    boot: BootOffset | None
    """What is known of this boot's time."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def time_report(config: Config) -> TimeReport:
    """Look. A log that is not there, or cannot be read, only lowers the floor: the clock is needed to repair it."""
    clock, boot, cloud_ms = SystemClock(), None, None
    try:
        with closing(open_log_read_only(config.log_path)) as connection:
            try:
                boot, cloud_ms = boot_offsets(connection).get(boot_id()), cloud_time_ms(connection)
            except sqlite3.Error as fault:
                raise trouble(config.log_path, fault, Phrase("the log cannot be read")) from fault
    except LogError:
        pass
    floor, wall_ms = ClockFloor(built_ms(), cloud_ms), clock.wall_ns() // 1_000_000
    return TimeReport(wall_ms, clock.quality(), floor.at_ms, floor.source, floor.behind_ms(wall_ms), boot)
