"""A worker of a run: its own cloud and nursery. A line tells it a sequence's number, a line its result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

from tests.fakes.nursery import Nursery
from tests.integration.outpost import House

from .plan import plan
from .sequence import Result, run


def main(seed: int, numbers: TextIO, folder: Path, template: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    house = House(folder / "house", template)
    try:
        with Nursery() as nursery:
            for line in numbers:
                index = int(line)
                _tell(run(plan(seed, index), house, folder / f"sequence-{index}", nursery.start))
    finally:
        house.close()


def _tell(result: Result) -> None:
    said = vars(result) | {"fired": [[card.kind, card.state, times] for card, times in result.fired.items()]}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.stdin, Path(sys.argv[2]), Path(sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit(130)
