"""Sabotaged readers, to show that the suite notices: `python -m tests.hil.mutants NAME --config FILE reader`.

Each changes one thing in its own process and then runs the real command.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

MUTANTS = ("drops-a-count", "ignores-a-checksum", "resets-its-state")
DROP_AFTER = 40


class _Agreeable(int):
    """A checksum that agrees with every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def drops_a_count() -> None:
    """After some readings, one count less, for good."""
    from aquasmart_station.adapters.meter_line import DrivenLine

    poll, seen = DrivenLine.poll, [0]

    def one_less(self: DrivenLine) -> Any:
        reading = poll(self)
        seen[0] += 1
        return replace(reading, forward_counts=reading.forward_counts - 1) if seen[0] > DROP_AFTER else reading

    DrivenLine.poll = one_less  # type: ignore[method-assign]


def ignores_a_checksum() -> None:
    """Whatever stands in a frame's checksum is right."""
    from aquasmart_station.meters import modbus, pulse

    for module in (modbus, pulse):
        real = module.crc16
        module.crc16 = lambda data, real=real: _Agreeable(real(data))  # type: ignore[attr-defined]


def resets_its_state() -> None:
    """Begins as on a new card, each time."""
    from aquasmart_station.adapters.log_writer import LogWriter

    LogWriter.resume = lambda *_: None  # type: ignore[method-assign]


SABOTAGE = (drops_a_count, ignores_a_checksum, resets_its_state)


def main() -> None:
    name = sys.argv.pop(1)
    {"drops-a-count": drops_a_count, "ignores-a-checksum": ignores_a_checksum, "resets-its-state": resets_its_state}[
        name
    ]()
    from aquasmart_station.cli.entry import main as real

    real()


if __name__ == "__main__":
    main()
