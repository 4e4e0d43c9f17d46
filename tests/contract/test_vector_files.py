"""The vector files themselves: reproducible, independent of both packages, at least half of them negative."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.contract.vectors import FOLDER, load
from tests.contract.write import FILES, text_of

MAKERS = sorted(Path(__file__).parent.glob("*_cases.py")) + [
    Path(__file__).parent / f"{name}.py" for name in ("reference", "books", "messages", "write")
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_reference_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(FILES[name]())


def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("path", MAKERS, ids=lambda path: path.name)
def test_the_reference_uses_the_standard_library_only(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    foreign = {name for name in names if name.partition(".")[0] not in {*sys.stdlib_module_names, "tests"}}
    assert not foreign
    assert all(not name.startswith("tests.") or name.startswith("tests.contract") for name in names)


def test_at_least_half_of_the_vectors_must_fail() -> None:
    cases = [case for name in FILES for case in load(name.removesuffix(".json"))["cases"]]
    negative = [case for case in cases if {"refused", "forged"} & set(case["flags"])]
    assert len(negative) * 2 >= len(cases)


@pytest.mark.parametrize("name", FILES)
def test_names_are_unique(name: str) -> None:
    names = [case["name"] for case in load(name.removesuffix(".json"))["cases"]]
    assert len(names) == len(set(names))
