"""Files of tests in the order that ends soonest: the longest first, so that none begins when all others are done.

How long each took is kept in durations.json, as a run of all of them has left it in build/durations.json. Nothing but
the order depends on it: a file that is not in it comes last, one that is gone is passed over.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
RECORD = TESTS / "durations.json"
MEASURED = TESTS.parent / "build" / "durations.json"


def longest_first(items: list[pytest.Item]) -> None:
    """Sort by file; within a file nothing moves, since its tests may share what one of them has started."""
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    items.sort(key=lambda item: -recorded.get(_file(item.nodeid), 0.0))


def record(reports: Iterable[pytest.TestReport]) -> None:
    """Write what each file took, setting up and tearing down included, into what earlier runs have left."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for report in reports:
        seconds[_file(report.nodeid)] += report.duration
    MEASURED.parent.mkdir(exist_ok=True)
    before = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    found = before | {name: round(took_s, 1) for name, took_s in seconds.items()}
    MEASURED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
