"""What the packages ship is made of the commands themselves, and is up to date: man page and shell completion."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aquasmart_station.cli.completion import script
from aquasmart_station.cli.main import _COMMANDS
from aquasmart_station.cli.manual import page
from demo.site import REPOSITORY, program

SHARE = REPOSITORY / "station" / "share"
SHELLS = ("bash", "zsh", "fish")


def test_the_man_page_is_up_to_date() -> None:
    assert (SHARE / "man" / "aquasmart.1").read_text() == page(), "make manual"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completions_are_up_to_date(shell: str) -> None:
    assert (SHARE / "completions" / f"aquasmart.{shell}").read_text() == script(shell), "make manual"


def test_the_man_page_names_every_command() -> None:
    text = page()
    for name in set(_COMMANDS) - {"manual"}:
        assert f'"aquasmart {name}'.replace("-", "\\-") in text, name
    for line in text.splitlines():
        assert not line.startswith("'")


@pytest.mark.needs("man")
def test_man_has_nothing_to_say_against_it() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(SHARE / "man" / "aquasmart.1")],
        capture_output=True, text=True, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def completed(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    line = " ".join(("aquasmart", *words))
    settings = {"_AQUASMART_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    done = subprocess.run([program("aquasmart")], capture_output=True, text=True, env=os.environ | settings)
    return [each.partition(",")[2] for each in done.stdout.splitlines()]


def test_words_are_completed() -> None:
    assert {"meter", "metrics"} <= set(completed("me"))
    assert {"list", "swap", "calibrate", "probe", "scale"} == set(completed("meter", ""))
    assert "--technician" in completed("visit", "start", "--t")


def test_it_is_installed_for_one_person(tmp_path: Path) -> None:
    done = subprocess.run(
        [program("aquasmart"), "completion", "--install"],
        capture_output=True, text=True, env=os.environ | {"HOME": str(tmp_path), "SHELL": "/bin/bash"},
    )  # fmt: skip
    assert done.returncode == 0
    written = tmp_path / ".local/share/bash-completion/completions/aquasmart"
    assert written.read_text() == script("bash")
