"""The file of results: what was asked for and how each sequence ended, a line of JSON each, appended as it happens.

A run that was interrupted goes on from it, and several runs are summed from theirs: `python -m tests.soak.journal FILE…
--report docs/soak.md`. Nothing in it is ever rewritten: a sequence that failed once has failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from demo.site import REPOSITORY

from .report import Report, Told


class Journal:
    """One file, or none: then nothing is kept, and nothing was there before."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def ask(self, seed: int, indices: Collection[int], commit: str) -> None:
        """Note what a run is about to do."""
        self._append({"asked": {"seed": seed, "first": min(indices), "sequences": len(indices), "commit": commit}})

    def add(self, result: Told) -> None:
        self._append(result)

    def results(self, seed: int, indices: Collection[int]) -> list[Told]:
        """What is known of these sequences of a seed."""
        if self._path is None or not self._path.exists():
            return []
        found = read([self._path]).results
        return [result for result in found if result["seed"] == seed and result["index"] in indices]

    def _append(self, line: Told) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def read(paths: Iterable[Path]) -> Report:
    """All that is in these files. Raises ValueError with the line that is no result: it is not skipped in silence."""
    report = Report()
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                told = json.loads(line)
                if "asked" in told:
                    asked = told["asked"]
                    wanted = range(asked["first"], asked["first"] + asked["sequences"])
                    report.asked.setdefault(asked["seed"], set()).update(wanted)
                else:
                    assert {"seed", "index", "commit", "fired", "failure"} <= told.keys()
                    report.results.append(told)
            except (ValueError, KeyError, TypeError, AssertionError):
                raise ValueError(f"{path}, line {number}: not a result; take the line out and run again") from None
    return report


def commit_now() -> str:
    """The commit that is checked out, `-dirty` where files differ from it; `unknown` outside a repository."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    said = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.soak.journal", description="Sum several runs in one report.")
    words.add_argument("files", type=Path, nargs="+", help="what --results of each run has written")
    words.add_argument("--report", type=Path, default=None, help="where to write the report (Markdown)")
    chosen = words.parse_args()
    try:
        report = read(chosen.files)
    except (OSError, ValueError) as fault:
        print(fault, file=sys.stderr)
        return 2
    print(report.markdown())
    if chosen.report:
        chosen.report.write_text(report.markdown())
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
