"""The process behind a Nursery: it has imported everything once, and forks one child per order.

Orders are lines of JSON on standard input, answers lines on standard output: `number` and `pid` once a child is in a
session of its own and waits for its signal to begin, `pid` and `status` when one has ended. At the end of the orders
this process ends, and every child with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

PROGRAMS = {
    "aquasmart": ("aquasmart_station.cli.entry", "main"),
    "aquasmart-cloud": ("aquasmart_cloud.cli", "main"),
    "gunicorn": ("gunicorn.app.wsgiapp", "run"),
}
"""What the commands of these names run, as their packages declare it."""

PACKAGES = ("aquasmart_station", "aquasmart_cloud")
BESIDE = ("gunicorn.app.wsgiapp", "gunicorn.workers.gthread")
PR_SET_PDEATHSIG = 1


def become(order: Mapping[str, Any], ready: set[signal.Signals], told: int) -> None:
    """In the child: be the program that was ordered, as if it had been started alone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    error = os.open(order["error"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if order["error"] else output
    for target, source in ((0, nothing), (1, output), (2, error)):
        os.dup2(source, target)
    os.closerange(3, told)
    os.closerange(told + 1, 1024)
    os.write(told, b".")
    os.close(told)
    signal.sigwait(ready)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.argv = [order["program"], *order["arguments"]]
    os._exit(_status_of(*PROGRAMS[order["program"]]))


def _status_of(module: str, name: str) -> int:
    status = 1
    try:
        returned = getattr(importlib.import_module(module), name)()
        status = returned if isinstance(returned, int) else 0
    except SystemExit as done:
        if done.code is not None and not isinstance(done.code, int):
            print(done.code, file=sys.stderr)
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return status & 0xFF


def import_everything() -> None:
    for package in PACKAGES:
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        for name in [module.name for module in found]:
            # Migrations are run by alembic, which loads them itself; __main__ would be the program.
            if ".migrations." not in name and not name.endswith(".__main__"):
                importlib.import_module(name)
    for name in BESIDE:
        importlib.import_module(name)
    gc.freeze()


def main() -> None:
    import_everything()
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
            order = json.loads(line)
            _say(number=order["number"], pid=_fork(order, ready))


def _fork(order: Mapping[str, Any], ready: set[signal.Signals]) -> int:
    """Its pid, once it is in a session of its own: from then on a signal to its group reaches it."""
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            become(order, ready, told)
        finally:
            os._exit(127)
    os.close(told)
    os.read(heard, 1)  # nothing where it could not begin: then it has ended
    os.close(heard)
    return pid


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
