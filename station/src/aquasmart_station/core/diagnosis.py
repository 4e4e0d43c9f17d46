"""What is wrong with the board, from what its sensors say; and when to say so. Pure.

A condition is a word such as `rail-low` or `leak:tap-1`. It appears with the first look that shows it and is gone
only after it has been absent for a while, each figure with a distance between its two limits: a board at the edge of
one says so once, not at every look.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .degraded import DISK_LOW
from .model import Flag

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = 1, 2, 4, 8
"""The firmware's bits for what is so now; 16 bits higher: what has been so since the board started
(Raspberry Pi documentation, vcgencmd get_throttled)."""

SINCE_BOOT = 16
MIB = 1 << 20

DISK_LOW_PART, DISK_LOW_BYTES = 20, 64 * MIB
"""Little disk is left below a twentieth of the partition or 64 MiB, whichever is less."""

MEMORY_LOW_BYTES = 32 * MIB
HOT_MC = 80_000
"""The Raspberry Pi slows itself down from 80 °C on; the BeagleBone's limit is higher."""

SUPPLY_MARGIN_MV = 100
COOL_MC = 5_000
RELIEF_NUM, RELIEF_DEN = 3, 2
"""Disk and memory are enough again at this much more than what was little."""

GONE_AFTER_MS = 60_000
"""A condition absent for so long is over."""

RAIL_LOW, SLOWED, MEMORY_LOW, HOT, CLOCK_UNSET = "rail-low", "throttled", "memory-low", "hot", "clock-unset"

ROW_FLAGS = {RAIL_LOW: Flag.RAIL_LOW}
"""Conditions of the board that every row bears while they last."""


@dataclass(frozen=True, slots=True)
class BoardFigures:
    """One look at the board. None: it has no such sensor, or it could not be read."""

    clock: str
    throttled: int | None = None
    """The firmware's bits, see above."""
    supply_alarm: bool | None = None
    """A voltage monitor's own alarm."""
    supply_mv: int | None = None
    temperature_mc: int | None = None
    """The hottest thermal zone, thousandths of a degree Celsius."""
    disk_free_bytes: int | None = None
    disk_bytes: int | None = None
    memory_available_bytes: int | None = None

    def row_data(self) -> dict[str, Any]:
        """The figures of a `diagnostic` row: those that the board has."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def judge(board: BoardFigures, former: frozenset[str], *, supply_low_mv: int) -> frozenset[str]:
    """The conditions of the board at this look, with the wider limit for those that were so before."""
    bits = board.throttled or 0
    supply_limit = supply_low_mv + (SUPPLY_MARGIN_MV if RAIL_LOW in former else 0)
    hot_limit = HOT_MC - (COOL_MC if HOT in former else 0)
    disk_limit = min((board.disk_bytes or 0) // DISK_LOW_PART, DISK_LOW_BYTES)
    shown = {
        RAIL_LOW: bool(bits & UNDER_VOLTAGE) or bool(board.supply_alarm) or _below(board.supply_mv, supply_limit),
        SLOWED: bool(bits & (CAPPED | THROTTLED | SOFT_LIMIT)),
        HOT: board.temperature_mc is not None and board.temperature_mc >= hot_limit,
        DISK_LOW: _below(board.disk_free_bytes, _relieved(disk_limit, DISK_LOW in former)),
        MEMORY_LOW: _below(board.memory_available_bytes, _relieved(MEMORY_LOW_BYTES, MEMORY_LOW in former)),
        CLOCK_UNSET: board.clock == "unset",
    }
    return frozenset(name for name, so in shown.items() if so)


def _below(value: int | None, limit: int) -> bool:
    return value is not None and value < limit


def _relieved(limit: int, former: bool) -> int:
    return limit * RELIEF_NUM // RELIEF_DEN if former else limit


class Conditions:
    """What is so at present, with patience: appears at once, is over after a minute's absence."""

    def __init__(self, gone_after_ms: int = GONE_AFTER_MS) -> None:
        self._gone_after_ms = gone_after_ms
        self._seen_ms: dict[str, int] = {}
        self.active: frozenset[str] = frozenset()

    def look(self, mono_ms: int, shown: frozenset[str], *, covered: frozenset[str] = frozenset()) -> bool:
        """Take what is shown now; True where `active` has changed.

        `covered`: what others say better at present; it is over at once, and back with the first look that shows it.
        """
        self._seen_ms |= dict.fromkeys(shown, mono_ms)
        self._seen_ms = {name: seen_ms for name, seen_ms in self._seen_ms.items() if name not in covered}
        former, self.active = (
            self.active,
            frozenset(name for name, seen_ms in self._seen_ms.items() if mono_ms - seen_ms < self._gone_after_ms),
        )
        for name in self._seen_ms.keys() - self.active:
            del self._seen_ms[name]
        return self.active != former
