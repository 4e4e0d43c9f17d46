"""`python -m tests.soak`: N sequences of random faults over several clouds at once. Exit status 1 where one failed."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

from demo.site import REPOSITORY, Site

from .report import Run

JOBS_A_CORE = 7
"""Sequences are mostly waits: for a backoff, a heartbeat, a state to show."""


def soak(
    seed: int, sequences: int, *, jobs: int, folder: Path, only: int | None = None, told: TextIO = sys.stdout
) -> Run:
    """Run them. `folder` keeps what a failed sequence leaves."""
    run = Run(seed, sequences if only is None else 1)
    began_s = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    template = Site(folder / "template", cloud_port=1)
    template.provision()
    lock = threading.Lock()

    def work(number: int) -> None:
        indices = (only, only + 1, 1) if only is not None else (number, sequences, jobs)
        words = [str(seed), *map(str, indices), str(folder / f"worker-{number}"), str(template.root)]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.soak.worker", *words], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                with lock:
                    run.results.append(json.loads(line))
                    _tell(run, told)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(min(jobs, run.wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.seconds = time.monotonic() - began_s
    return run


def _tell(run: Run, told: TextIO) -> None:
    last = run.results[-1]
    if last["failure"]:
        told.write(f"sequence {last['index']} FAILED: {last['failure']}\nreplay: {run.replay(last['index'])}\n")
    if len(run.results) % 50 == 0:
        told.write(f"{len(run.results)} of {run.wanted} sequences\n")
    told.flush()


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    words.add_argument("--sequences", "-n", type=int, default=200)
    words.add_argument("--seed", type=int, default=None, help="repeats a run's draws; a fresh one is printed")
    words.add_argument("--only", type=int, default=None, help="one sequence of the run, by its number")
    words.add_argument("--jobs", type=int, default=JOBS_A_CORE * (os.cpu_count() or 1))
    words.add_argument("--report", type=Path, default=None, help="where to write the report (Markdown)")
    words.add_argument("--keep", type=Path, default=None, help="a folder for what failed sequences leave")
    chosen = words.parse_args()
    seed = secrets.randbelow(1 << 32) if chosen.seed is None else chosen.seed
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="aquasmart-soak-"))
    print(f"seed {seed}; files in {folder}", flush=True)
    run = soak(seed, chosen.sequences, jobs=chosen.jobs, folder=folder, only=chosen.only)
    print(run.markdown())
    if chosen.report:
        chosen.report.parent.mkdir(parents=True, exist_ok=True)
        chosen.report.write_text(run.markdown())
    if run.faults():
        return 1
    if not chosen.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
