"""The serial line: what the board says on it, and what a technician types."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

PROMPT = "station> "
LOGIN, PASSWORD, WRONG = r"login: $", r"(Password|PIN): ?$", r"Login incorrect"
_KERNEL = re.compile(r"^\[ *\d+\.\d{6}\] .*\n?", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07")


class Unheard(AssertionError):
    """What was waited for did not come; the message has the line's last words."""


class Console:
    """A client of QEMU's serial socket. `said` is everything since it was connected, without control sequences."""

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        self._line = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self._line.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._raw = bytearray()
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._at = 0
        """Up to where it has been looked at."""

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._line.recv(65536):
                with self._heard:
                    self._raw += data
                    self._heard.notify_all()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._listener.join(5)
        self._line.close()

    @property
    def said(self) -> str:
        with self._heard:
            raw = bytes(self._raw)
        return _ESCAPES.sub("", raw.decode("utf-8", "replace")).replace("\r", "")

    def type(self, text: str) -> None:
        """A line, and the Enter key."""
        # As fast as a person: what a login program reads between two of its own steps is thrown away.
        time.sleep(0.3)
        self._line.sendall(text.encode() + b"\r")

    def wait(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """The first match in what has not been looked at; what follows it has not been looked at then."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.said
            if found := re.compile(pattern, re.MULTILINE).search(text, self._at):
                self._at = found.end()
                return found
            if (left := deadline - time.monotonic()) <= 0:
                raise Unheard(f"{pattern!r} did not come within {timeout_s:g} s:\n{text[-2500:]}")
            with self._heard:
                self._heard.wait(min(left, 0.5))

    def skip(self) -> None:
        """What was said until now is no answer to what comes next."""
        self._at = len(self.said)

    def sign_in(self, user: str, pin: str, timeout_s: float) -> None:
        """From a login prompt to the shell's."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                self.wait(LOGIN, 30.0)
                self.type(user)
                self.wait(PASSWORD, 60.0)
                self.type(pin)
                if self.wait(f"^{PROMPT}$|{WRONG}", 90.0)[0] == PROMPT:
                    return
            except Unheard:
                # A message of the kernel's may have come after the prompt.
                self.type("")
        raise Unheard(f"the technician does not come in within {timeout_s:g} s:\n{self.said[-2500:]}")

    def ask(self, command: str, timeout_s: float = 90.0) -> str:
        """What a command of the technician's shell says, until the next prompt; the kernel's own lines are left out."""
        self.skip()
        self.type(command)
        self.wait(re.escape(command[:40]), 20.0)
        began = self._at
        end = self.wait(rf"^{PROMPT}$", timeout_s)
        return _KERNEL.sub("", self.said[began : end.start()].partition("\n")[2])

    def ask_json(self, command: str, timeout_s: float = 90.0) -> Any:
        """The document that a command says. Asked again where a word of the kernel's came in between."""
        for _ in range(3):
            said = self.ask(command, timeout_s)
            with contextlib.suppress(ValueError):
                return json.loads(said)
        raise Unheard(f"{command}: no JSON:\n{said}")
