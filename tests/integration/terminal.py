"""A command at a real pseudo-terminal: what a person sees and types, colours and bars included."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

from demo.site import program


class Terminal:
    """One `aquasmart` command at a terminal of its own, 100 columns wide."""

    def __init__(self, config: Path, *words: str, environment: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        settings = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"} | (environment or {})
        self._process = subprocess.Popen(
            [program("aquasmart"), "--config", str(config), *words],
            stdin=slave, stdout=slave, stderr=slave, env=os.environ | settings, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def await_text(self, text: str, timeout_s: float = 60.0) -> str:
        """Everything seen so far, once `text` is in it."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            if not self._more(0.2) and time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {text!r}; seen:\n{self.seen}")
        return self.seen

    def say(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as quickly as a person: within a moment of the prompt Python's readline would not see it."""
        time.sleep(0.3)
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self, timeout_s: float = 60.0) -> int:
        """The exit status, once it has ended by itself."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < deadline:
            self._more(0.1)
        while self._more(0.05):
            pass
        status = self._process.wait(1)
        os.close(self._master)
        return status

    def _more(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)
