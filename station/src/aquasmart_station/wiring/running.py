"""What both services run under: signals, folders and locks that the kernel frees when a process dies."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..adapters.log_file import lock
from ..adapters.quarantine import intent_path
from ..config import Config
from ..core.errors import StationError
from ..core.phrases import Phrase
from ..core.ports import Watchdog


class Stopper:
    """SIGTERM and SIGINT ask whatever runs to stop."""

    def __init__(self) -> None:
        self.asked = False
        self._then: Callable[[], None] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def tell(self, then: Callable[[], None]) -> None:
        """Call `then` on the signal, at once where it has already come."""
        self._then = then
        if self.asked:
            then()

    def _handle(self, _number: int, _frame: object) -> None:
        self.asked = True
        self._then()


def make_folders(config: Config) -> None:
    for folder in (config.state_dir, config.runtime_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise StationError(
                Phrase("{folder} cannot be made: {strerror}", folder=folder, strerror=fault.strerror)
            ) from fault


def become_owner(config: Config) -> None:
    """Where root works on the state folder of a service's user, go on as that user: what is made anew (a salvaged log,
    a lock) must be the services' own, or they could not open it. For good; a no-op for everybody else."""
    if os.geteuid() != 0 or not config.state_dir.is_dir():
        return
    owner = config.state_dir.stat()
    if owner.st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


@contextlib.contextmanager
def held(path: Path, watchdog: Watchdog, stopper: Stopper, *, what: str) -> Iterator[bool]:
    """An exclusive lock, waited for; False where we were told to stop meanwhile. The kernel frees it when we die."""
    told = False
    while not stopper.asked:
        try:
            descriptor = lock(path, exclusive=True)
        except BlockingIOError:
            if not told:
                told = True
                print(f"another {what} holds {path.name}; waiting for it to end", file=sys.stderr, flush=True)
                watchdog.ready()
            watchdog.status(f"waiting: another {what} holds {path.name}")
            watchdog.pet()
            time.sleep(0.25)
            continue
        try:
            yield True
        finally:
            os.close(descriptor)
        return
    yield False


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """The log's lock, shared. Raises StationError while a salvage of the log waits to be finished."""
    descriptor = lock(path, exclusive=False, wait=True)
    try:
        if intent_path(path.with_name("log.db")).exists():
            raise StationError(
                Phrase("the log is damaged and its salvage was cut short"),
                hint=Phrase("Run `aquasmart check`: it goes on by itself."),
            )
        yield
    finally:
        os.close(descriptor)
