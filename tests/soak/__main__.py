"""`python -m tests.soak`: N sequences of random faults over several clouds at once. Exit status 1 where one failed.

With `--results FILE` a run may be interrupted (exit status 130) and goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from demo.site import REPOSITORY, Site
from tests.fakes import wall_clock

from .journal import Journal, commit_now
from .report import Report, Told, replay

JOBS_A_CORE = 11
"""Sequences are mostly waits: for a backoff, a heartbeat, a state to show."""


class Soak:
    """A run: gives each worker its next sequence and hears how the last one ended."""

    def __init__(self, seed: int, indices: Sequence[int], *, folder: Path, journal: Journal, told: TextIO) -> None:
        self.report = Report({seed: set(indices)})
        self._seed, self._commit = seed, commit_now()
        self._folder, self._journal, self._told = folder, journal, told
        known = journal.results(seed, self.report.asked[seed])
        self.report.results.extend(known)
        done = {result["index"] for result in known}
        self._left = deque(index for index in indices if index not in done)
        self._lock = threading.Lock()
        self.workers: list[subprocess.Popen[str]] = []
        self._ended = False

    def left(self) -> list[int]:
        """Numbers of the sequences that nobody has begun."""
        return list(self._left)

    def run(self, jobs: int) -> Report:
        """Run what is not yet known. `folder` keeps what a failed sequence leaves. Raises KeyboardInterrupt."""
        if not self._left:
            return self.report
        self._journal.ask(self._seed, self.report.asked[self._seed], self._commit)
        self._folder.mkdir(parents=True, exist_ok=True)
        Site(self._folder / "template", cloud_port=1).provision()
        jobs = min(jobs, len(self._left))
        workers = min(jobs, os.cpu_count() or 1)
        shares = [jobs // workers + (number < jobs % workers) for number in range(workers)]
        threads = [threading.Thread(target=self._work, args=each) for each in enumerate(shares)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._end(threads)
            raise
        finally:
            wall_clock.sweep()
        return self.report

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """What is under way is given up, not failed: it has no result."""
        with self._lock:
            self._ended = True
            for worker in self.workers:
                worker.send_signal(signal.SIGINT)
        for thread in threads:
            thread.join()

    def _work(self, number: int, jobs: int) -> None:
        """Keep a worker busy with so many sequences at a time."""
        folder, template = str(self._folder / f"worker-{number}"), str(self._folder / "template")
        words = [sys.executable, "-m", "tests.soak.worker", str(self._seed), str(jobs), folder, template]
        # A session of its own: a Ctrl-C reaches it through us, once.
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            with self._lock:
                self.workers.append(worker)
            under_way: set[int] = set()

            def give() -> None:
                index = self._next()
                if index is not None:
                    under_way.add(index)
                    with contextlib.suppress(BrokenPipeError):
                        worker.stdin.write(f"{index}\n")
                        worker.stdin.flush()

            for _ in range(jobs):
                give()
            while under_way and (line := worker.stdout.readline()):
                said = json.loads(line)
                under_way.remove(said["index"])
                self._hear(said)
                give()
            for index in under_way:
                self._hear(_died(index, worker.wait()))

    def _next(self) -> int | None:
        with self._lock:
            return self._left.popleft() if self._left and not self._ended else None

    def _hear(self, said: dict[str, Any]) -> None:
        with self._lock:
            if self._ended and said["failure"]:
                return
            result: Told = {"seed": self._seed, "commit": self._commit, **said}
            self.report.results.append(result)
            self._journal.add(result)
            if result["failure"]:
                self._told.write(f"sequence {result['index']} FAILED: {result['failure']}\nreplay: {replay(result)}\n")
            if len(self.report.results) % 50 == 0:
                self._told.write(f"{len(self.report.results)} of {self.report.wanted} sequences\n")
            self._told.flush()


def _died(index: int, status: int) -> dict[str, Any]:
    """A sequence whose worker went with it has failed: it is not forgotten, and not tried again until it passes."""
    figures = dict.fromkeys(("seconds", "events", "volume_ul", "streams", "operations"), 0)
    return {"index": index, "fired": [], "failure": f"the worker died with status {status}", **figures}


def _chosen() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    words.add_argument("--sequences", "-n", type=int, default=200)
    words.add_argument("--first", type=int, default=0, help="the number of the first sequence: a part of a longer run")
    words.add_argument("--seed", type=int, default=None, help="repeats a run's draws; a fresh one is printed")
    words.add_argument("--only", type=int, default=None, help="one sequence of the run, by its number")
    words.add_argument("--jobs", type=int, default=JOBS_A_CORE * (os.cpu_count() or 1))
    words.add_argument("--report", type=Path, default=None, help="where to write the report (Markdown)")
    words.add_argument(
        "--results", type=Path, default=None, help="a file that each sequence's result is added to; what it has is done"
    )
    words.add_argument("--keep", type=Path, default=None, help="a folder for what failed sequences leave")
    chosen = words.parse_args()
    if chosen.sequences < 1 or chosen.first < 0 or chosen.jobs < 1:
        words.error("--sequences and --jobs are at least 1, --first is at least 0")
    if chosen.results and chosen.seed is None:
        words.error("--results needs --seed: a fresh one would find nothing of its own in the file")
    return chosen


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    chosen = _chosen()
    seed = secrets.randbelow(1 << 32) if chosen.seed is None else chosen.seed
    first, count = (chosen.first, chosen.sequences) if chosen.only is None else (chosen.only, 1)
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    # A folder of this run's own: one that was interrupted and goes on must not meet what it left.
    folder = Path(tempfile.mkdtemp(prefix="aquasmart-soak-", dir=chosen.keep))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        soak = Soak(seed, range(first, first + count), folder=folder, journal=Journal(chosen.results), told=sys.stdout)
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 2
    known = len(soak.report.results)
    print(f"seed {seed}; files in {folder}" + (f"; {known} known from {chosen.results}" if known else ""), flush=True)
    began_s = time.monotonic()
    try:
        report = soak.run(chosen.jobs)
    except KeyboardInterrupt:
        kept = f"; the same command goes on from {chosen.results}" if chosen.results else ""
        print(f"interrupted after {len(soak.report.results)} of {soak.report.wanted} sequences{kept}")
        if not chosen.keep and not any(result["failure"] for result in soak.report.results):
            shutil.rmtree(folder, ignore_errors=True)
        return 130
    print(report.markdown())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{time.monotonic() - began_s:,.0f} s; {used.ru_utime + used.ru_stime:,.0f} s of processor time")
    if chosen.report:
        chosen.report.parent.mkdir(parents=True, exist_ok=True)
        chosen.report.write_text(report.markdown())
    if report.faults():
        return 1
    if not chosen.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
