"""The line between a simulated meter and the reader, in the bench's hand: passed on, pulled out, garbled, babbled on.

Knows bytes only. The meter goes on counting whatever happens here, as a real one does behind a bad cable.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
import tty
from pathlib import Path
from typing import Literal

from aquasmart_station.adapters.pty_host import PtyHost

Mode = Literal["pass", "unplugged", "garble", "babble"]
_PULSES = re.compile(rb"(F1,[0-9A-Fa-f]{8},[0-9]+,[0-9]+,[0-9]*)([0-9])(,)")
LOOK_S = 0.05


class Line:
    """Forwards between `link`, where the reader looks, and `meter`, where the simulation answers."""

    def __init__(self, link: Path, meter: Path) -> None:
        self._link, self._meter = link, meter
        self._mode: Mode = "pass"
        self._in_force: Mode = "unplugged"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.set("pass")

    def set(self, mode: Mode) -> None:
        """Change what happens on the line; returns when it does."""
        self._mode = mode
        deadline = time.monotonic() + 10
        while self._in_force != mode and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        host: PtyHost | None = None
        meter = -1
        try:
            while not self._stop.is_set():
                mode = self._mode
                if mode == "unplugged" and host is not None:
                    host.close()
                    host = None
                elif mode != "unplugged" and host is None:
                    host = PtyHost(self._link)
                    host.open()
                self._in_force = mode
                if host is None:
                    time.sleep(LOOK_S)
                    continue
                meter = self._carry(host, meter, mode)
        finally:
            if host is not None:
                host.close()
            if meter >= 0:
                os.close(meter)

    def _carry(self, host: PtyHost, meter: int, mode: Mode) -> int:
        """One look at both ends; the meter's descriptor, -1 where it is gone."""
        if meter < 0:
            with contextlib.suppress(OSError):
                meter = os.open(self._meter, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                tty.setraw(meter)
        request = host.read(LOOK_S if meter < 0 else 0.002)
        if mode == "babble":
            host.write(os.urandom(64))
        try:
            if meter >= 0 and request:
                os.write(meter, request)
            if meter >= 0 and select.select([meter], [], [], 0.002)[0]:
                data = os.read(meter, 1024)
                if not data:
                    raise OSError("the meter hung up")  # noqa: TRY301
                host.write(garbled(data) if mode == "garble" else data)
        except OSError:
            os.close(meter)
            return -1
        return meter


def garbled(answer: bytes) -> bytes:
    """The same answer with another count in it and the checksum of the true one."""
    if answer.startswith(b"F1"):
        return _PULSES.sub(lambda m: m[1] + (b"%d" % ((int(m[2]) + 5) % 10)) + m[3], answer)
    data = bytearray(answer)
    if len(data) > 6:
        data[-3] ^= 0x01
        data[4] ^= 0x05
    return bytes(data)
