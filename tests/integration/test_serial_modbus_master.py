"""The simulated TUF-2000 read by a Modbus master that is none of ours."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_serial_simulator import Meter

pytestmark = pytest.mark.needs("mbpoll")

SERIAL = ("-m", "rtu", "-b", "9600", "-P", "none", "-o", "0.5", "-1", "-q")
"""Half a second for an answer, once, without a banner."""


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    made = Meter(tmp_path)
    made.start("--driver", "modbus", "--start-counts", "3123456", "--pattern", "idle", "--identity", "20471183")
    yield made
    assert made.end(signal.SIGTERM) == 0


def mbpoll(meter: Meter, reference: int, count: int, form: str, *, slave: int = 1) -> tuple[int, list[str], str]:
    """mbpoll counts registers from 1: its reference is the wire address plus one."""
    done = subprocess.run(
        ["mbpoll", *SERIAL, "-a", str(slave), "-t", form, "-r", str(reference), "-c", str(count), meter.link],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, re.findall(r"^\[\d+\]:\s+(\S+)", done.stdout, re.MULTILINE), done.stderr


def test_totals_are_low_word_first(meter: Meter) -> None:
    assert mbpoll(meter, 9, 1, "4:int")[:2] == (0, ["3"])
    assert mbpoll(meter, 11, 1, "4:float")[:2] == (0, ["0.123456"])
    status, words, _ = mbpoll(meter, 9, 4, "4")
    assert (status, words[:2]) == (0, ["3", "0"])
    assert meter.counts()[0] == 3_123_456


def test_the_flow_and_the_serial_number(meter: Meter) -> None:
    assert mbpoll(meter, 1, 1, "4:float")[:2] == (0, ["0"])
    assert mbpoll(meter, 1529, 2, "4:hex")[:2] == (0, ["0x2047", "0x1183"])


def test_what_it_refuses_is_refused_by_the_book(meter: Meter) -> None:
    status, words, said = mbpoll(meter, 600, 1, "4")
    assert (status, words) == (1, [])
    assert "Illegal data address" in said


def test_it_is_silent_for_other_slaves(meter: Meter) -> None:
    status, words, said = mbpoll(meter, 9, 4, "4", slave=2)
    assert (status, words) == (1, [])
    assert "timed out" in said
