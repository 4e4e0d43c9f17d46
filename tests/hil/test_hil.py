"""The acceptance suite itself, with a simulated meter: passes with the real reader, fails with a sabotaged one."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from demo.site import REPOSITORY
from tests.hil.checks import error_percent
from tests.hil.report import FAILED, NOT_RUN, PASSED, Report, Verdict

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def suite(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.hil", "--out", str(out), "--repeats", "1", "--minutes", "0.05", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


@pytest.mark.needs("faketime")
@pytest.mark.parametrize(
    ("meter", "not_run"), [("pulse", {"H5", "H9"}), ("modbus", {"H5", "H12"})], ids=["pulse", "modbus"]
)
def test_a_simulated_meter_is_accepted_but_for_what_needs_water(tmp_path: Path, meter: str, not_run: set[str]) -> None:
    done = suite(tmp_path, "--port", "sim", "--meter", meter, "--operator", "Ada")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ET.fromstring((tmp_path / "hil.xml").read_text()).findall("testcase")
    names = {str(case.get("name")).partition(" ")[0] for case in cases}
    assert names == {f"H{number}" for number in range(1, 14)}
    skipped = {str(case.get("name")).partition(" ")[0] for case in cases if case.find("skipped") is not None}
    assert skipped == not_run
    text = (tmp_path / "hil.txt").read_text()
    assert "operator     Ada" in text
    assert all("SIMULATED" in page for page in text.split("\f"))
    assert 'class="mark">SIMULATED' in (tmp_path / "hil.html").read_text()
    assert "SIMULATED" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("mutant", "only"), [("drops-a-count", "H3,H6"), ("ignores-a-checksum", "H10"), ("resets-its-state", "H7")]
)
@pytest.mark.parametrize("meter", ["pulse", "modbus"])
def test_a_sabotaged_reader_is_not(tmp_path: Path, meter: str, mutant: str, only: str) -> None:
    done = suite(tmp_path, "--port", "sim", "--meter", meter, "--mutant", mutant, "--only", only)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout
    assert "SABOTAGED" in (tmp_path / "hil.txt").read_text()


def test_without_a_meter_it_is_not_a_success(tmp_path: Path) -> None:
    done = suite(tmp_path, "--port", str(tmp_path / "none"), "--meter", "pulse")
    assert (done.returncode, "no meter found" in done.stderr) == (2, True)
    assert not (tmp_path / "hil.xml").exists()


def test_every_page_of_a_simulated_report_says_so() -> None:
    verdicts = [Verdict(f"H{n}", "x", "y", "z", (PASSED, FAILED, NOT_RUN)[n % 3]) for n in range(60)]
    pages = Report({"meter": "pulse"}, verdicts, simulated=True).text().split("\f")
    assert len(pages) == 4
    assert all("SIMULATED" in page for page in pages)
    assert "SIMULATED" not in Report({"meter": "pulse"}, verdicts, simulated=False).text()
    junit = ET.fromstring(Report({"meter": "pulse"}, verdicts, simulated=True).junit())
    assert (junit.get("failures"), junit.get("skipped"), junit.get("tests")) == ("20", "20", "60")


def test_a_pour_is_judged_by_its_own_water() -> None:
    assert error_percent(5_000_000, Fraction("5")) == 0
    assert error_percent(5_100_000, Fraction("5")) == 2
    assert error_percent(19_600_000, Fraction(20)) == -2
