"""`build/system-report.md`: every fault that the stations went through, how often, and what was lost."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.site import REPOSITORY

FAILED = pytest.StashKey[bool]()
TARGET = REPOSITORY / "build" / "system-report.md"
_KEPT = TARGET.with_suffix(".jsonl")
"""What each test has noted, so that one report covers several runs: containers side by side, emulated machines one
after the other. A test that runs again replaces what it said before; `make test-system` begins with none."""
_NAME = "system-fault"


def note(
    record_property: object,
    fault: str,
    *,
    cycles: int = 1,
    volume_ul: int | None = None,
    lost: str = "",
    measured: str = "",
) -> None:
    """One line of the report. `volume_ul`: the meter's own volume, which log and cloud were found to have exactly.
    `lost`: what was compared instead, in words, where a test compares something else than volumes."""
    assert callable(record_property)
    line = {"fault": fault, "cycles": cycles, "volume_ul": volume_ul, "lost": lost, "measured": measured}
    record_property(_NAME, json.dumps(line))


def write(passed: Sequence[pytest.TestReport], failed: Sequence[pytest.TestReport]) -> Path | None:
    """The report, None where no test noted anything. A failed test is a line, too: a gap would look like silence."""
    kept = {each["test"]: each for each in map(json.loads, _KEPT.read_text().splitlines())} if _KEPT.exists() else {}
    for report in passed:
        if report.when == "call" and "tests/system" in report.nodeid:
            said = [json.loads(str(text)) for name, text in report.user_properties if name == _NAME]
            kept[report.nodeid] = {"test": report.nodeid, "failed": False, "lines": said}
    for report in failed:
        if "tests/system" in report.nodeid:
            kept[report.nodeid] = {"test": report.nodeid, "failed": True, "lines": []}
    if not any(each["failed"] or each["lines"] for each in kept.values()):
        return None
    TARGET.parent.mkdir(exist_ok=True)
    _KEPT.write_text("".join(f"{json.dumps(each)}\n" for each in kept.values()))
    lines = [line for each in kept.values() for line in each["lines"]]
    broken = [name for name, each in kept.items() if each["failed"]]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPOSITORY)
    made_on = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, kernel {platform.release()}, {platform.machine()}"
    text = [
        "# Faults under real systemd",
        "",
        f"Commit {commit.stdout.strip() or 'unknown'}, {made_on}.",
        "*Counted* is the simulated meter's own count, from a file that the product never reads; *lost* is what log or",
        "cloud had less (or more) than that.",
        "",
        "| fault | cycles | counted, L | lost, µl | measured |",
        "|---|---:|---:|---:|---|",
    ]
    for line in sorted(lines, key=lambda each: str(each["fault"])):
        volume = line["volume_ul"]
        counted = "" if volume is None else f"{volume / 1e6:.3f}"
        lost = line["lost"] if volume is None else "0"
        text.append(f"| {line['fault']} | {line['cycles']} | {counted} | {lost} | {line['measured']} |")
    text += [f"| FAILED: {nodeid} | | | ? | |" for nodeid in broken]
    total = sum(line["cycles"] for line in lines)
    text += ["", f"{len(lines)} faults, {total} cycles, lost = {'unknown: a test failed' if broken else '0'}.", ""]
    TARGET.write_text("\n".join(text))
    return TARGET
