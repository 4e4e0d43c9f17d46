"""Modules: how long, how named, and where floats stay out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .tree import Finding, SourceFile

LONGEST_LINES = 400
LONGEST_TEST_LINES = 500
"""A file of tests is a list of cases: it is looked up in, not read through."""
NAMES_THAT_SAY_NOTHING = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"})

FLOATS_ALLOWED = {
    "station/src/aquasmart_station/core/anomaly.py": "z-scores that judge figures, never of counts that are booked",
    "station/src/aquasmart_station/core/rolling.py": "the mean and deviation that those are judged by",
    "station/src/aquasmart_station/core/backoff.py": "seconds to wait, drawn at random",
    "station/src/aquasmart_station/core/pacing.py": "seconds to wait, drawn at random",
    "station/src/aquasmart_station/core/batching.py": "seconds a request took",
    "station/src/aquasmart_station/core/metrics.py": "seconds for people's eyes, nothing that is booked",
    "station/src/aquasmart_station/core/outcome.py": "seconds of Retry-After",
    "station/src/aquasmart_station/core/tally.py": "seconds that requests took and waits lasted",
    "station/src/aquasmart_station/core/token_bucket.py": "an allowance that grows with the time",
}
"""Core modules that handle durations, never volumes or counts, with the reason."""


def short_enough(file: SourceFile) -> Iterator[Finding]:
    """A module that cannot be read in one sitting holds more than one thing."""
    ours = file.path.endswith((".py", ".js", ".sql", ".sh")) and "/vendor/" not in file.path
    lines = file.text.count("\n")
    longest = LONGEST_TEST_LINES if file.path.startswith("tests/") else LONGEST_LINES
    if ours and lines > longest:
        yield file.finding(
            longest + 1, "module-length", f"{lines} lines, more than {longest}; split it by responsibility"
        )


def named_by_content(file: SourceFile) -> Iterator[Finding]:
    """A module or package called `utils` collects what nobody found a place for."""
    if not file.python:
        return
    path = file.pure_path
    for name in (path.stem, *path.parts[:-1]):
        empty = NAMES_THAT_SAY_NOTHING & {name, *name.split("_")[-1:]}
        if empty:
            yield file.finding(1, "module-name", f"{name!r} does not say what the module is for")


def no_floats_in_core(file: SourceFile) -> Iterator[Finding]:
    """`float()`, a float literal or a true division in core/: volumes and counts are integers everywhere."""
    if not (file.python and file.core) or file.path in FLOATS_ALLOWED:
        return
    for node in ast.walk(file.syntax):
        what = _makes_float(node)
        if what:
            yield file.finding(
                node.lineno,
                "float-in-core",
                f"{what} makes a float; counts and microlitres are integers (docs/protocol.md §3)",
            )


def _makes_float(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        return "float()"
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return f"{node.value!r}"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        left = node.left if isinstance(node, ast.BinOp) else node.target
        # A Fraction stays exact.
        exact = isinstance(left, ast.Call) and ast.unparse(left.func) == "Fraction"
        return None if exact else "a division with `/`"
    return None
