"""A process group: started in its own session, its output in a file, ended whole.

A gunicorn master that is killed leaves workers behind that hold the database, so nothing less than the whole
group is ever stopped. Its number is kept in a file, so that a run that was itself killed can be cleared away
by the next one; the board's boot id and the leader's start time in it make a re-used number harmless.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Running(Protocol):
    """A started process, as much of Popen as is used here."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None, /) -> int | None: ...
    def terminate(self) -> None: ...


class Launcher(Protocol):
    """A way to start our programs in sessions of their own. Tests have a quicker one than `exec`."""

    def knows(self, command: Sequence[str]) -> bool: ...
    def spawn(self, command: Sequence[str], *, environment: Mapping[str, str], output: Path) -> Running: ...
    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]: ...


class Group:
    """One command and everything it starts. The constructor stores its arguments only."""

    def __init__(self, name: str, pids: Path, logs: Path, launcher: Launcher | None = None) -> None:
        self._record = pids / name.replace(":", "-")
        self._log = logs / f"{name.replace(':', '-')}.log"
        self._launcher = launcher
        self._process: Running | None = None

    def start(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        """Start it; its output is appended to its log file."""
        if self._launcher is not None and self._launcher.knows(command):
            self._process = self._launcher.spawn(command, environment=environment, output=self._log)
        else:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._record.write_text(f"{_boot_id()} {self.pid} {_started(self.pid)}\n")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessLookupError("not started")
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout_s: float) -> int | None:
        """SIGTERM for the leader, SIGKILL for what is then left of the group. Gives the leader's status."""
        if self._process is None:
            return None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL for the whole group; returns when its leader is gone."""
        if self._process is None:
            return
        _kill_group(self._process.pid)
        self._process.wait()
        self._record.unlink(missing_ok=True)

    def end_leftover(self) -> None:
        """End the group that an earlier, killed run left behind, if it is still there and really that one."""
        try:
            boot_id, pid, started = self._record.read_text().split()
        except (FileNotFoundError, ValueError):
            return
        # While a group has members the kernel re-uses its number for no other process: a leader that is gone
        # means orphans, a leader that started at another time means the number is somebody else's.
        if boot_id == _boot_id() and _started(int(pid)) in {started, ""}:
            _kill_group(int(pid))
            _await_end(int(pid))
        self._record.unlink(missing_ok=True)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _await_end(pid: int, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.02)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot (proc(5), field 22); empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return ""
