"""A serial line to one meter: open, one exchange at a time, and every way a line fails named in two errors.

Bytes and time only: what bytes mean belongs to the drivers, when to poll and to reopen to the reader service.
"""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Callable
from pathlib import Path

import serial

from aquasmart_station.core.errors import BadFrame, LinkDown, NoAnswer
from aquasmart_station.core.model import Reading, Stamp
from aquasmart_station.meters.driver import Driver, LineSettings

from ..core.phrases import Phrase, joined

CHUNK = 512
"""Bytes taken at once; the longest answer of any meter here is shorter."""

_FAULTS = (OSError, termios.error, serial.SerialException, ValueError)
"""Unplugging raises termios.error, which is no OSError, and SerialException without an errno; a line setting
that the port refuses is a ValueError."""


class SerialLine:
    """One serial port. Constructing it stores arguments; `open` opens. Not for several threads at once."""

    def __init__(
        self,
        path: Path | str,
        line: LineSettings,
        *,
        mono_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = str(path)
        self._line = line
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._port: serial.Serial | None = None
        self._quiet_until_ns = 0

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def open(self) -> None:
        """Open the port for this process alone and drop what was waiting in it. Raises LinkDown."""
        self.close()
        try:
            self._port = serial.Serial(
                self._path,
                baudrate=self._line.baud,
                bytesize=self._line.bytesize,
                parity=self._line.parity,
                stopbits=self._line.stopbits,
                timeout=0,
                exclusive=True,
            )
            self._port.reset_input_buffer()
        except _FAULTS as error:
            self.close()
            raise self._down(Phrase("cannot open {path}", path=self._path), error) from error
        self._quiet_until_ns = 0

    def close(self) -> None:
        """Close the port; never raises, also where the adapter is gone."""
        port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except _FAULTS:
                return  # the descriptor is gone with the adapter: nothing is left to close

    def exchange(self, request: bytes, driver: Driver, deadline_ns: int | None = None) -> Reading:
        """Send `request` and wait for the driver's reading until `deadline_ns` on the clock `mono_ns`.

        None as deadline: the driver's own `answer_deadline_ms` from now. Raises NoAnswer, BadFrame, or LinkDown
        (after which the port is closed). After NoAnswer and BadFrame the next exchange first stays quiet for the
        driver's longest answer and then drops what came late: RTU frames have no transaction id.
        """
        if self._port is None:
            raise LinkDown(Phrase("{path} is not open", path=self._path))
        try:
            return self._exchange(self._port, request, driver, deadline_ns)
        except (NoAnswer, BadFrame):
            driver.reset()
            self._quiet_until_ns = self._mono_ns() + driver.answer_deadline_ms * 1_000_000
            raise
        except _FAULTS as error:
            driver.reset()
            self.close()
            raise self._down(Phrase("lost {path}", path=self._path), error) from error

    def _exchange(self, port: serial.Serial, request: bytes, driver: Driver, deadline_ns: int | None) -> Reading:
        self._stay_quiet(port)
        started_ns = self._mono_ns()
        if deadline_ns is None:
            deadline_ns = started_ns + driver.answer_deadline_ms * 1_000_000
        self._send(port, request)
        received = 0
        while True:
            remaining_ns = deadline_ns - self._mono_ns()
            if remaining_ns <= 0 or not select.select([_descriptor(port)], [], [], remaining_ns / 1e9)[0]:
                raise NoAnswer(
                    Phrase("half an answer on {port}", port=self._path)
                    if received
                    else Phrase("no answer on {port}", port=self._path),
                    hint=Phrase("Is the meter powered, are A and B the right way round, do baud and address match?"),
                )
            data = os.read(_descriptor(port), CHUNK)
            if not data:
                raise OSError(f"{self._path} hung up")
            received += len(data)
            now_ns = self._mono_ns()
            stamp = Stamp(now_ns, self._wall_ns(), (now_ns - started_ns) // 1000)
            reading = driver.feed(data, stamp)
            if reading is not None:
                return reading
            more = driver.follow_up()
            if more is not None:
                self._send(port, more)

    def _stay_quiet(self, port: serial.Serial) -> None:
        """Wait out the silence a failed exchange asked for, then drop what is waiting: it answers nothing now."""
        while (rest_ns := self._quiet_until_ns - self._mono_ns()) > 0:
            if select.select([_descriptor(port)], [], [], rest_ns / 1e9)[0] and not os.read(_descriptor(port), CHUNK):
                raise OSError(f"{self._path} hung up")
        port.reset_input_buffer()

    def _send(self, port: serial.Serial, request: bytes) -> None:
        if os.write(_descriptor(port), request) != len(request):
            raise OSError(f"{self._path} takes no more bytes")

    def _down(self, what: str, error: Exception) -> LinkDown:
        return LinkDown(
            joined(": ", (what, str(error))),
            hint=Phrase("Is the adapter plugged in, and does no other program use the port?"),
        )


def _descriptor(port: serial.Serial) -> int:
    """The port's file descriptor. Raises OSError where it has been closed underneath."""
    if port.fd is None:
        raise OSError("the port was closed")
    return port.fd
