"""The rule about the test matrix finds each thing that can be wrong with it, in a tree of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint import matrix
from tests.lint.__main__ import ROOT

NODE = "tests/test_x.py::test_it"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tests" / "bench").mkdir(parents=True)
    (tmp_path / "tests" / "test_x.py").write_text(
        "def test_it(): ...\ndef helper(): ...\nclass TestThat:\n    def test_in(self): ...\n"
    )
    (tmp_path / "tests" / "bench" / "drain.py").write_text("def drain(): ...\n")
    return tmp_path


def said(tree: Path, **rows: str) -> list[str]:
    """What is found where every row is mapped but those given, whose tables are as given."""
    good = dict.fromkeys(matrix.ROWS, f'what = "it"\ntests = ["{NODE}"]')
    text = "\n".join(f"[{row}]\n{body}" for row, body in {**good, **rows}.items() if body)
    (tree / "tests" / "matrix.toml").write_text(text)
    return [finding.message for finding in matrix.mapped(tree)]


def test_a_whole_matrix_has_no_finding(tree: Path) -> None:
    assert said(tree) == []


@pytest.mark.parametrize("row", ["E1", "Q14", "P8"])
def test_an_unmapped_row_is_found(tree: Path, row: str) -> None:
    assert said(tree, **{row: ""}) == [f"{row} ({matrix.priority(row)}) is not mapped"]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ('what = "it"\ntests = ["tests/test_x.py::test_gone"]', "there is no tests/test_x.py::test_gone"),
        ('what = "it"\ntests = ["tests/test_y.py::test_it"]', "there is no tests/test_y.py::test_it"),
        ('what = "it"\ntests = ["tests/test_x.py::helper"]', "there is no tests/test_x.py::helper"),
        ('what = "it"\ntests = ["tests/test_x.py"]', "there is no tests/test_x.py"),
        ('what = "it"\ntests = ["tests/test_x.py::TestThat"]', "there is no tests/test_x.py::TestThat"),
        ('what = "it"\ntests = []', "tests must be a list of node ids"),
        ('what = "it"\nnot_applicable = "no"', "not_applicable must give a reason"),
        ('what = "it"\nlater = "when it is built"', "is P0: it cannot be later"),
        ('what = "it"', "must have one of tests, not_applicable, later, and nothing else beside what it is"),
        (f'tests = ["{NODE}"]', "does not say what it is"),
        (
            f'what = "it"\ntests = ["{NODE}"]\nlater = "or not at all"',
            "must have one of tests, not_applicable, later, and nothing else beside what it is",
        ),
    ],
)
def test_a_row_that_proves_nothing_is_found(tree: Path, table: str, found: str) -> None:
    assert said(tree, E1=table) == [f"E1: {found}"]


def test_an_unknown_row_is_found(tree: Path) -> None:
    assert said(tree, Z9=f'what = "it"\ntests = ["{NODE}"]') == ["Z9: is no row of the matrix"]


@pytest.mark.parametrize("row", ["F3", "X4"])
def test_what_is_not_urgent_may_wait_with_a_reason(tree: Path, row: str) -> None:
    assert said(tree, **{row: 'what = "it"\nlater = "when the intake is built"'}) == []


def test_what_waits_is_said(tree: Path) -> None:
    said(tree, F3='what = "it"\nlater = "when the intake is built"')
    assert matrix.waiting(tree) == ["F3 waits: when the intake is built"]


@pytest.mark.parametrize("node", ["tests/test_x.py::TestThat::test_in", "tests/bench/drain.py::drain"])
def test_methods_and_benches_count(tree: Path, node: str) -> None:
    assert said(tree, E1=f'what = "it"\ntests = ["{node}"]') == []


def test_no_file_is_a_finding(tree: Path) -> None:
    assert [finding.message for finding in matrix.mapped(tree)] == ["is missing"]


def test_ours_is_whole() -> None:
    assert [str(finding) for finding in matrix.mapped(ROOT)] == []
