"""A worker of a run: one nursery, and for each of its sequences at a time a cloud of their own.

A line tells it a sequence's number, a line its result; in whatever order they end.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TextIO

from tests.fakes.nursery import Nursery
from tests.integration.outpost import House

from .plan import plan
from .sequence import Result, run

TELLING = threading.Lock()
BROKEN = 70
"""Exit status where one of its threads cannot go on: the run then knows what it was at, instead of waiting for ever."""


def main(seed: int, jobs: int, numbers: TextIO, folder: Path, template: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def work(number: int) -> None:
        house = House(folder / f"house-{number}", template, nursery)
        try:
            while (index := wanted.get()) is not None:
                _tell(run(plan(seed, index), house, folder / f"sequence-{index}", nursery.start))
        finally:
            house.close()

    with Nursery() as nursery:
        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(jobs)]
        for thread in threads:
            thread.start()
        for line in numbers:
            wanted.put(int(line))
        for _ in threads:
            wanted.put(None)
        for thread in threads:
            thread.join()


def _fall(fault: threading.ExceptHookArgs) -> None:
    threading.__excepthook__(fault)
    sys.stderr.flush()
    os._exit(BROKEN)


def _tell(result: Result) -> None:
    said = vars(result) | {"fired": [[card.kind, card.state, times] for card, times in result.fired.items()]}
    with TELLING:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    threading.excepthook = _fall
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin, Path(sys.argv[3]), Path(sys.argv[4]))
    except KeyboardInterrupt:
        sys.exit(130)  # the nursery takes everything with it
