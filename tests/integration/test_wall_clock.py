"""A process under another wall clock starts whatever former ones of its process id have left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import wall_clock
from tests.fakes.wall_clock import shifted

pytestmark = pytest.mark.needs("faketime")

_LEAVE = """
import ctypes, os, sys
library = ctypes.CDLL("libpthread.so.0")
library.sem_open.restype = ctypes.c_void_p
assert library.sem_open(f"/faketime_sem_{os.getpid()}".encode(), os.O_CREAT, 0o600, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A semaphore as a killed process leaves it, held; then the command, as the same process."""

_TELL = "import time; print(time.time(), time.monotonic())"


def test_what_a_killed_process_has_left_stops_nobody_and_is_swept() -> None:
    began, monotonic = time.time(), time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", _LEAVE, *shifted("-6m"), sys.executable, "-c", _TELL], stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    wall_s, monotonic_s = map(float, said.split())
    assert began - 360 <= wall_s <= time.time() - 360
    assert monotonic <= monotonic_s <= time.monotonic()

    left = Path(f"/dev/shm/sem.faketime_sem_{process.pid}")
    assert left.exists()
    wall_clock.sweep()
    assert not left.exists()
