"""The test matrix: every row of the sync specification is proved by a test that exists, or says why there is none.

tests/matrix.toml holds a table per row: `what` it asks for, and `tests` (node ids), `not_applicable` (why the row means
nothing here) or `later` (what it waits for). A row of priority P0 or P1 may not wait, except where all of its kind do.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .tree import Finding

FILE = "tests/matrix.toml"
RULE = "matrix"

COUNTS = {
    "E": 11, "R": 20, "B": 13, "I": 12, "O": 6, "Q": 14, "N": 6, "S": 6, "D": 5, "C": 4, "X": 4, "P": 10, "F": 14,
}  # fmt: skip
"""How many rows each letter has: envelope, errors, backoff, idempotency, router, queue, faults (network, server, data),
races, exhaustion, performance; F: what the cloud does with unreliable foreign events."""

P1 = {
    "E": {6, 8, 9, 10}, "R": {16, 17}, "B": {6, 12, 13}, "I": {6, 10, 12}, "O": {5}, "Q": {5, 10, 11, 12, 14},
    "N": {3, 6}, "S": {3, 5, 6}, "D": {1, 2, 5}, "C": {3, 4}, "X": {1}, "P": {3, 4, 6, 7, 9},
}  # fmt: skip
P2 = {"E": {11}, "B": {9, 10, 11}, "I": {7, 8, 11}, "N": {4}, "D": {3}, "X": {3, 4}}
MAY_WAIT = "F"
"""Rows of this letter belong to a part of the cloud that is not built yet; listed so that nobody forgets them."""

ROWS = {f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)}
_ANSWERS = ("tests", "not_applicable", "later")


def priority(row: str) -> str:
    """P0 unless the specification says otherwise."""
    letter, number = row[0], int(row[1:])
    return "P1" if number in P1.get(letter, ()) else "P2" if number in P2.get(letter, ()) else "P0"


def mapped(root: Path) -> Iterator[Finding]:
    """Everything that is wrong with the matrix of the tree at `root`."""
    try:
        text = (root / FILE).read_text()
        document = tomllib.loads(text)
    except FileNotFoundError:
        yield Finding(FILE, 1, RULE, "is missing")
        return
    except tomllib.TOMLDecodeError as fault:
        yield Finding(FILE, 1, RULE, f"is not TOML: {fault}")
        return
    for row in sorted(ROWS - document.keys(), key=_in_order):
        yield Finding(FILE, 1, RULE, f"{row} ({priority(row)}) is not mapped")
    lines = text.splitlines()
    for row, entry in document.items():
        line = lines.index(f"[{row}]") + 1 if f"[{row}]" in lines else 1
        for message in _faults(row, entry, root):
            yield Finding(FILE, line, RULE, f"{row}: {message}")


def waiting(root: Path) -> list[str]:
    """The rows that wait, and what for: said aloud at every run, so that none is forgotten."""
    document = tomllib.loads((root / FILE).read_text())
    return [f"{row} waits: {entry['later']}" for row, entry in document.items() if "later" in entry]


def _faults(row: str, entry: Any, root: Path) -> Iterator[str]:
    if row not in ROWS:
        yield "is no row of the matrix"
        return
    if not isinstance(entry, Mapping) or not isinstance(entry.get("what"), str):
        yield "does not say what it is"
        return
    given = [name for name in _ANSWERS if name in entry]
    if len(given) != 1 or entry.keys() - {"what", *_ANSWERS}:
        yield f"must have one of {', '.join(_ANSWERS)}, and nothing else beside what it is"
        return
    said = entry[given[0]]
    if given[0] != "tests":
        if not isinstance(said, str) or len(said.split()) < 3:
            yield f"{given[0]} must give a reason"
        if given[0] == "later" and priority(row) != "P2" and not row.startswith(MAY_WAIT):
            yield f"is {priority(row)}: it cannot be later"
        return
    if not isinstance(said, list) or not said:
        yield "tests must be a list of node ids"
        return
    for node in said:
        if not isinstance(node, str) or not exists(root, node):
            yield f"there is no {node}"


def exists(root: Path, node: str) -> bool:
    """Whether `path::function` or `path::Class::function` is in the tree, by its syntax; nothing is imported."""
    name, *inside = node.split("::")
    path = root / name
    if not inside or not name.startswith("tests/") or not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for word in inside:
        found = next((each for each in body if isinstance(each, _NAMED) and each.name == word), None)
        if found is None:
            return False
        body = found.body
    return isinstance(found, ast.FunctionDef) and (found.name.startswith("test_") or "/bench/" in name)


_NAMED = (ast.FunctionDef, ast.ClassDef)


def _in_order(row: str) -> tuple[int, int]:
    return list(COUNTS).index(row[0]), int(row[1:])
