"""Starts our programs fast: a process that has imported them once (forking.py) and forks one per order.

What it forks is the program: its own pid, session, memory, environment, files and signals; it can be killed, stopped
and limited like any other, and takes everything with it that it has started. Only the interpreter's start is saved,
which is most of what thousands of starts would cost. What a preloaded library or another namespace is for needs a
start of its own, and what has to be measured line by line, too: coverage is not kept in here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.site import REPOSITORY

from .forking import PROGRAMS


class Child:
    """One forked program, held by a pidfd: a signal never reaches whoever has its number later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self.returncode: int | None = None
        """How it ended, as subprocess has it; known soon after it did."""
        self.ended = threading.Event()

    def __del__(self) -> None:
        os.close(self._fd)

    def alive(self) -> bool:
        return not select.select([self._fd], [], [], 0)[0]

    def poll(self) -> int | None:
        """As Popen's: its status once it has ended."""
        return self.wait(0) if not self.alive() else None

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its status once it has ended; None where it has not in time."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return None
        self.ended.wait(5)
        return self.returncode


class Nursery:
    """Gives orders to a forking process of its own while it is entered."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._children: dict[int, Child] = {}
        self._made: dict[int, Child | None] = {}
        self._number = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Nursery:
        measured = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        environment = {name: value for name, value in os.environ.items() if name not in measured}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.forking"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=REPOSITORY, env=environment,
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends, and everything it has forked with it
        self._process.wait(20)

    @staticmethod
    def knows(command: Sequence[str]) -> bool:
        """Whether this is a command of this environment that can be forked."""
        path = Path(command[0])
        return path.name in PROGRAMS and path.parent == Path(sys.executable).parent

    def start(self, arguments: list[str], log: Path) -> Child:
        """Start `aquasmart ARGUMENTS`, its output appended to `log`, with no settings of ours in its environment."""
        ours = ("AQUASMART_", "NOTIFY_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return self.spawn(["aquasmart", *arguments], environment=kept, output=log)

    def spawn(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Path,
        error: Path | None = None,
        folder: Path = REPOSITORY,
    ) -> Child:
        """Start a program; `error` None: what it says there goes to `output`, too."""
        order = {
            "program": Path(command[0]).name,
            "arguments": list(command[1:]),
            "environment": dict(environment),
            "output": str(output.resolve()),
            "error": None if error is None else str(error.resolve()),
            "folder": str(folder),
        }
        assert self._process is not None
        assert self._process.stdin is not None
        with self._changed:
            self._number += 1
            number = self._number
            self._made[number] = None
            self._process.stdin.write(json.dumps({"number": number, **order}) + "\n")
            self._process.stdin.flush()
            self._changed.wait_for(lambda: self._made[number] is not None, timeout=60)
            child = self._made.pop(number)
        if child is None:
            raise AssertionError("the nursery does not answer")
        return child

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """A command to its end, its output captured."""
        with tempfile.TemporaryDirectory(prefix="aquasmart-run-") as name:
            output, error = Path(name) / "output", Path(name) / "error"
            status = self.spawn(command, environment=environment, output=output, error=error).wait()
            assert status is not None
            return subprocess.CompletedProcess(command, status, output.read_text(), error.read_text())

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, int] = json.loads(line)
            with self._changed:
                if "number" in said:
                    self._made[said["number"]] = self._children[said["pid"]] = Child(said["pid"])
                else:
                    child = self._children.pop(said["pid"])
                    child.returncode = said["status"]
                    child.ended.set()
                self._changed.notify_all()
            if "number" in said:
                # It may run once we hold it: one that has ended before would have no pidfd.
                self._tell_go(said["pid"])

    def _tell_go(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)


@functools.cache
def shared() -> Nursery:
    """One for all tests of this process, from its first use to the process's end."""
    nursery = Nursery().__enter__()
    atexit.register(nursery.__exit__)
    return nursery
