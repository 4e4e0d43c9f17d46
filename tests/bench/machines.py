"""The processes that are measured: a site's own, and the naive server. Starting, asking and ending only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from demo.groups import Group
from demo.site import REPOSITORY, MeterSpec, Site, program
from tests.fakes.ports import free_port

LONGEST_WAIT_S = 120.0


class TooSlow(Exception):
    """Something did not happen within the longest wait; the message says what."""


def await_(what: str, condition: Callable[[], bool], every_s: float = 0.05) -> None:
    """Raises TooSlow."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TooSlow(f"not within {LONGEST_WAIT_S:.0f} s: {what}")
        time.sleep(every_s)


@contextlib.contextmanager
def site(**options: Any) -> Iterator[Site]:
    """A provisioned site in a temporary folder; whatever was started in it is ended."""
    with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name:
        made = Site(Path(name), cloud_port=free_port(), station_id="bench-1", **options)
        made.provision()
        try:
            yield made
        finally:
            made.stop_all()


def steady_meter(start_counts: int) -> MeterSpec:
    return MeterSpec(start_counts=start_counts, pattern="steady")


class NaiveServer:
    """The naive server under gunicorn, as many threads as ours."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "naive-cloud.db"
        self.port = free_port()
        self._group = Group("naive", folder, folder)

    def __enter__(self) -> NaiveServer:
        command = [program("gunicorn"), "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--no-control-socket", "tests.bench.naive_server:create_app()"]
        environment = {**os.environ, "NAIVE_DATABASE": str(self.database)}
        self._group.start(command, cwd=REPOSITORY, environment=environment)
        try:
            await_("the naive server answers", self._answers)
        except TooSlow:
            self._group.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._group.stop(5.0)

    def _answers(self) -> bool:
        line = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except OSError:
            return False
        finally:
            line.close()


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """RSS of a process in MB (10⁶ bytes), now or at its highest."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(f"process {pid} tells no {wanted}")


def bare_interpreter_mb() -> float:
    """An interpreter that has imported nothing but what it starts with."""
    code = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / 1e6


def disk_bytes(database: Path) -> int:
    """What a SQLite database occupies once its WAL has been taken in."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    beside = (database, database.with_name(database.name + "-wal"))
    return sum(path.stat().st_size for path in beside if path.exists())


def python_module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]
