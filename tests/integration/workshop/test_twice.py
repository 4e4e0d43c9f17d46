"""What fails beside others is tried once more, alone; what fails then, or fails in numbers, has failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import twice

PASSES_LATER = """
from pathlib import Path

def test_upset():
    seen = Path(__file__).with_suffix(".seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


def tried(folder: Path, *tests: str) -> tuple[int, str]:
    """Exit status, and what build/upset.txt names."""
    for number, text in enumerate(tests):
        (folder / f"test_{number}.py").write_text(text)
    status = twice.run(
        ["-q", "-p", "no:randomly", "--rootdir", str(folder), str(folder)], coverage=False, folder=folder
    )
    upset = folder / "build/upset.txt"
    return status, upset.read_text() if upset.exists() else ""


def test_what_passes_alone_is_named_and_holds_up_nobody(tmp_path: Path) -> None:
    status, upset = tried(tmp_path, PASSES_LATER, "def test_well():\n    pass\n")
    assert (status, upset) == (0, "test_0.py::test_upset\n")


def test_what_fails_again_has_failed(tmp_path: Path) -> None:
    assert tried(tmp_path, PASSES_LATER, "def test_wrong():\n    assert False\n") == (1, "")


def test_many_are_no_chance(tmp_path: Path) -> None:
    status, upset = tried(tmp_path, *[PASSES_LATER] * (twice.MOST + 1))
    assert (status, upset) == (1, "")
    assert len(list(tmp_path.glob("*.seen"))) == twice.MOST + 1, "each ran once"
    assert tried(tmp_path)[0] == 0, "and would have passed"


@pytest.mark.parametrize("broken", ["import nowhere\n", ""])
def test_what_cannot_even_be_collected_is_not_tried_again(tmp_path: Path, broken: str) -> None:
    status, upset = tried(tmp_path, broken)
    assert (status in {2, 5}, upset) == (True, "")


def test_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_0.py").write_text(PASSES_LATER)
    command = [sys.executable, "-m", "tests.twice", "-q", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=twice.ROOT, check=False)
    assert done.returncode == 0, done.stdout
    assert "PASSED ALONE, look at them:" in done.stdout
