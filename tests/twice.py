"""`python -m tests.twice [--coverage] PYTEST-ARGUMENTS`: pytest, and once more, alone, what failed beside the others.

Tests here start real processes and wait for real clocks; several at a time on two cores, one of four thousand may miss
its turn. Up to MOST such tests are run again with nothing beside them. What fails then has failed. What passes then is
named at the end and in build/upset.txt, and is to be looked at: a fault that comes seldom is a fault, too
(docs/decisions/0055). More than MOST are no chance, and are not tried again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST = 8
TESTS_FAILED = 1
"""pytest's exit status where tests failed, and nothing worse has happened."""
ROOT = Path(__file__).resolve().parents[1]


def failed_in(cache: Path) -> list[str]:
    """The tests that failed, by pytest's own note."""
    note = cache / "v/cache/lastfailed"
    return sorted(json.loads(note.read_text())) if note.exists() else []


def run(arguments: Sequence[str], *, coverage: bool, folder: Path = ROOT) -> int:
    """pytest's exit status, of the second run where there was one."""
    cache, upset = folder / "build/pytest-cache", folder / "build/upset.txt"
    shutil.rmtree(cache, ignore_errors=True)
    upset.unlink(missing_ok=True)
    command = [sys.executable, "-m", *(("coverage", "run", "-m") if coverage else ()), "pytest"]
    command += ["-o", f"cache_dir={cache}", *arguments]
    status = subprocess.run(command, cwd=folder, check=False).returncode
    failed = failed_in(cache)
    if status != TESTS_FAILED or not 0 < len(failed) <= MOST:
        return status
    print(f"\n{len(failed)} failed beside the others; once more, alone:", *failed, sep="\n  ", flush=True)
    again = subprocess.run([*command, "--last-failed", "-n", "0"], cwd=folder, check=False).returncode
    if again == 0:
        upset.parent.mkdir(exist_ok=True)
        upset.write_text("".join(f"{name}\n" for name in failed))
        print("\nPASSED ALONE, look at them:", *failed, sep="\n  ", flush=True)
    return again


def main() -> int:
    arguments = sys.argv[1:]
    coverage = arguments[:1] == ["--coverage"]
    try:
        return run(arguments[1:] if coverage else arguments, coverage=coverage)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
