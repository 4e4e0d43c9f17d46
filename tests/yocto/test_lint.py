"""oelint-adv on every recipe and append: what it says beside oelint.cfg's list is a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .recipes import LAYER

RULES = Path(__file__).with_name("oelint.cfg")


def lint(*files: Path) -> list[str]:
    program = Path(sys.executable).with_name("oelint-adv")
    done = subprocess.run(
        [str(program), "--quiet", *map(str, files)],
        capture_output=True, text=True, env=os.environ | {"OELINT_CONFIG": str(RULES)},
    )  # fmt: skip
    return sorted({line for line in (done.stdout + done.stderr).splitlines() if ":oelint." in line})


def test_the_recipes_have_no_finding() -> None:
    assert lint(*sorted(LAYER.rglob("*.bb")), *sorted(LAYER.rglob("*.bbappend"))) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('LICENSE = "MIT"\n', "oelint.var.mandatoryvar.SUMMARY"),
        ('SUMMARY = "x"\nLICENSE = "MIT"\nSRC_URI[md5sum] = "0"\n', "oelint.vars.srcurichecksum"),
    ],
)
def test_it_would_find_one(tmp_path: Path, text: str, rule: str) -> None:
    recipe = tmp_path / "thing_1.0.bb"
    recipe.write_text(text)
    assert any(rule in line for line in lint(recipe))
