"""Starts the station's services fast: a process that has imported them once and forks one per order.

What it forks is the service: its own pid, memory, files and signals; it can be killed, stopped and limited like any
other. Only the interpreter's start is saved, which is most of what thousands of starts would cost.

Run as `python -m tests.fakes.nursery`, it reads orders from standard input; `Nursery` is the side that gives them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PRELOADED = ("cli.main", "cli.services", "cli.simulate", "wiring.reading", "wiring.syncing")
PR_SET_PDEATHSIG = 1


class Child:
    """One forked service, held by a pidfd: a signal never reaches whoever has its number later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self.status: int | None = None
        """How it ended, as subprocess has it; known soon after it did."""
        self.ended = threading.Event()

    def alive(self) -> bool:
        return self._fd >= 0 and not select.select([self._fd], [], [], 0)[0]

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def wait(self, timeout_s: float) -> int | None:
        """Its status once it has ended; None where it has not in time."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return None
        self.ended.wait(5)
        return self.status


class Nursery:
    """Gives orders to a forking process of its own while it is entered."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._children: dict[int, Child] = {}
        self._made: dict[int, Child | None] = {}
        self._number = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends, and everything it has forked with it
        self._process.wait(20)

    def start(self, arguments: list[str], log: Path) -> Child:
        """Start `aquasmart ARGUMENTS`, its output appended to `log`."""
        assert self._process is not None
        assert self._process.stdin is not None
        with self._changed:
            self._number += 1
            number = self._number
            self._made[number] = None
            self._process.stdin.write(json.dumps([number, arguments, str(log)]) + "\n")
            self._process.stdin.flush()
            self._changed.wait_for(lambda: self._made[number] is not None, timeout=30)
            child = self._made.pop(number)
        if child is None:
            raise AssertionError("the nursery does not answer")
        return child

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
                    child.status = said["status"]
                    child.ended.set()
                self._changed.notify_all()
            if "number" in said:
                # It may run once we hold it: one that has ended before would have no pidfd.
                self._tell_go(said["pid"])

    def _tell_go(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)


def _become(arguments: list[str], log: str, ready: Any) -> None:
    """In the child: be `aquasmart ARGUMENTS`."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    signal.sigwait(ready)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["aquasmart", *arguments]
    status = 1
    try:
        importlib.import_module("aquasmart_station.cli.main").main()
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(f"aquasmart_station.{name}")
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ready = {signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, ready)
    buffer = b""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 1024)
            _bury()
        if 0 not in readable:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            os._exit(0)
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            number, arguments, log = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _become(arguments, log, ready)
            _say(number=number, pid=pid)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(pid=pid, status=os.waitstatus_to_exitcode(status))


def _say(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
