"""A pseudo-terminal that a simulated meter answers on, found by a stable link like a real adapter's by-path name.

Bytes in, bytes out, and the link's life; what the bytes mean belongs to the meter.
"""

from __future__ import annotations

import os
import pty
import select
import tty
from pathlib import Path

CHUNK = 1024


class PtyHost:
    """The master end of a pseudo-terminal. It keeps the other end open itself, so that readers may come and go."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master = -1
        self._slave = -1
        self._name = ""

    def open(self) -> None:
        """Make the terminal, raw, and put the link in place of whatever a killed predecessor left. Raises OSError."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._name = os.ttyname(self._slave)
        self._link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._name)
        fresh.replace(self._link)

    def read(self, timeout_s: float) -> bytes:
        """What a reader has sent; empty after `timeout_s` without anything."""
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        return os.read(self._master, CHUNK) if ready else b""

    def write(self, data: bytes) -> None:
        """Answer. What no reader takes is lost, as on a wire: a full terminal never blocks the meter."""
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Hang up, and remove the link if it is still ours."""
        if self._name and self._link.is_symlink() and str(self._link.readlink()) == self._name:
            self._link.unlink(missing_ok=True)
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1
        self._name = ""
