"""A process that is killed for good (SIGKILL) at its n-th boundary, by its own hand.

A boundary is before any SQL statement, and before any change of names or sync of a file. Nothing of the product is
replaced: sqlite3 and os call the real things, counted.

`python -m tests.fakes.boundaries MODULE:FUNCTION PREPARED TARGET` runs the function in a copy of the folder PREPARED
at TARGET/1, killed at the first boundary, in TARGET/2, killed at the second, and so on until none is left.
Prints the number of boundaries; one folder more holds the run that was left alone.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

OS_CALLS = ("rename", "replace", "unlink", "mkdir", "rmdir", "fsync", "truncate")


class Boundaries:
    """Counts, and kills at the chosen one."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.passed = 0

    def reach(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count every statement of every connection from now on, and every durable change of a file's name."""
        boundaries, connect = self, sqlite3.connect

        class Counted(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
                boundaries.reach()
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
                # A statement a row: each is a boundary of its own.
                cursor = self.cursor()
                for each in parameters:
                    boundaries.reach()
                    cursor.execute(sql, each)
                return cursor

            def close(self) -> None:
                boundaries.reach()
                super().close()

        sqlite3.connect = lambda *words, **settings: connect(*words, **{"factory": Counted, **settings})  # type: ignore[assignment]
        for name in OS_CALLS:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **settings: Any) -> Any:
            self.reach()
            return real(*words, **settings)

        return call


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    work = getattr(importlib.import_module(module), function)
    prepared, target = Path(sys.argv[2]), Path(sys.argv[3])
    for kill_at in count(1):
        folder = target / str(kill_at)
        shutil.copytree(prepared, folder)
        child = os.fork()
        if child == 0:
            Boundaries(kill_at).install()
            work(str(folder))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            print(kill_at - 1)
            return
        if status != -signal.SIGKILL:
            sys.exit(f"boundary {kill_at}: exit status {status}")


if __name__ == "__main__":
    main()
