"""A worker of a run: its own cloud and nursery, and every so many'th sequence. Tells each result as a line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fakes.nursery import Nursery
from tests.integration.outpost import House

from .plan import plan
from .sequence import Result, run


def main(seed: int, indices: range, folder: Path, template: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    house = House(folder / "house", template)
    try:
        with Nursery() as nursery:
            for index in indices:
                _tell(run(plan(seed, index), house, folder / f"sequence-{index}", nursery.start))
    finally:
        house.close()


def _tell(result: Result) -> None:
    said = vars(result) | {"fired": [[card.kind, card.state, times] for card, times in result.fired.items()]}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), range(*(int(word) for word in sys.argv[2:5])), Path(sys.argv[5]), Path(sys.argv[6]))
