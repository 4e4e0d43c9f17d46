"""`python -m tests.system.powercut`: cycles of counting and cutting. Exit status 1 where anything was lost."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from .images import prepare
from .report import Run
from .rig import Cycle, Rig

PLAN = ("any", "commit", "prune", "any", "checkpoint", "migration", "any", "commit", "prune", "migration")
"""What the cuts of a lane are aimed at, in turn. Half of what happens to a station happens at any moment."""


def power_cuts(
    seed: int, cycles: int, *, lanes: int, folder: Path, words: tuple[str, ...] = (), plan: tuple[str, ...] = PLAN
) -> Run:
    """Run them on several machines at once. `words`: more of the guests' kernel command line."""
    prepare()
    run = Run(seed, cycles)
    lock = threading.Lock()

    def work(number: int) -> None:
        try:
            rig = Rig(folder / f"lane-{number}", seed + number, words=words)
        except Exception as fault:
            run.failures.append(f"lane {number} could not begin: {fault}")
            return
        try:
            for index in range(number, cycles, lanes):
                cycle = rig.cycle(plan[index // lanes % len(plan)])
                with lock:
                    run.cycles.append(cycle)
                    _tell(cycle)
            if not words:
                differs = rig.settle()
                if differs:
                    run.failures.append(f"lane {number}: the books differ at the end: {differs}")
        except Exception as fault:
            run.failures.append(f"lane {number} broke: {fault!r}")
        finally:
            rig.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return run


def _tell(cycle: Cycle) -> None:
    under_way = cycle.under_way or "nothing"
    print(
        f"aimed at {cycle.aim}: cut while {under_way} was under way, {cycle.commits} commits, {cycle.rows} rows told,"
        f" {cycle.lost} lost of those before, {cycle.seconds:.0f} s{' FAILED' if cycle.failures else ''}",
        flush=True,
    )


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.system.powercut", description=__doc__)
    words.add_argument("--cycles", "-n", type=int, default=20)
    words.add_argument("--lanes", type=int, default=max(1, os.cpu_count() or 1))
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--report", type=Path, default=None)
    words.add_argument("--off", action="store_true", help="the control: commits that do not wait for the drive")
    chosen = words.parse_args()
    seed = secrets.randbelow(1 << 32) if chosen.seed is None else chosen.seed
    folder = Path(tempfile.mkdtemp(prefix="aquasmart-power-"))
    print(f"seed {seed}; files in {folder}", flush=True)
    run = power_cuts(
        seed, chosen.cycles, lanes=chosen.lanes, folder=folder, words=("synchronous=OFF",) if chosen.off else ()
    )
    print(run.markdown())
    if chosen.report:
        chosen.report.parent.mkdir(parents=True, exist_ok=True)
        chosen.report.write_text(run.markdown())
    if run.faults():
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
