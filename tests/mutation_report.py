"""Sums up what mutmut found in each workspace: `build/mutation.json`, and a line a package.

A mutant is killed when a test fails or times out; it survives when every test that reaches it passes, or none reaches
it. Those that were not tested, because only some modules were chosen or the run was cut short, are named beside it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from mutmut.stats import status_by_exit_code

KILLED = frozenset({"killed", "timeout", "suspicious", "segfault", "caught by type check"})
SURVIVED = frozenset({"survived", "no tests"})
UNTESTED = "not checked"


def summed(statuses: Counter[str]) -> dict[str, Any]:
    """The figure of one package. `score` is the share killed, in percent with one decimal; None without mutants."""
    killed = sum(statuses[name] for name in KILLED)
    survived = sum(statuses[name] for name in SURVIVED)
    mutants = killed + survived
    score = round(100 * killed / mutants, 1) if mutants else None
    untested = statuses[UNTESTED]
    return {"mutants": mutants, "killed": killed, "survived": survived, "score": score, "untested": untested}


def read(workspace: Path) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Statuses over all, and by module, of what mutmut has made in a workspace."""
    modules: dict[str, Counter[str]] = {}
    for path in sorted(workspace.glob("mutants/src/*/core/*.py.meta")):
        exit_codes = json.loads(path.read_text())["exit_code_by_key"]
        counted = Counter(status_by_exit_code[code] for code in exit_codes.values())
        if counted:
            modules[path.name.removesuffix(".py.meta")] = counted
    return sum(modules.values(), Counter()), modules


def main(workspaces: list[Path], output: Path) -> None:
    document: dict[str, Any] = {}
    for workspace in workspaces:
        statuses, modules = read(workspace)
        if statuses:
            by_module = {name: summed(counted) for name, counted in modules.items()}
            document[workspace.name] = {**summed(statuses), "modules": by_module}
    output.write_text(json.dumps(document, indent=1) + "\n")
    for name, figure in document.items():
        untested = f"; {figure['untested']} were not tested" if figure["untested"] else ""
        print(f"{name}: {figure['killed']} of {figure['mutants']} mutants killed, {figure['score']} %{untested}")
        for module, part in figure["modules"].items():
            if part["mutants"]:
                print(f"  {module:<20} {part['killed']:>5} of {part['mutants']:>5}  {part['score']:>5} %")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]))
