"""A serial line with its driver: what the reader polls."""

from __future__ import annotations

from ..core.model import Reading, Scale
from ..meters.driver import Driver
from .serial_port import SerialLine


class DrivenLine:
    """One meter: its port and the protocol it speaks."""

    def __init__(self, line: SerialLine, driver: Driver) -> None:
        self._line, self._driver = line, driver

    def open(self) -> None:
        """Raises LinkDown."""
        self._line.open()
        self._driver.reset()

    def poll(self) -> Reading:
        """One request, one reading. Raises BadFrame, NoAnswer, LinkDown."""
        return self._line.exchange(self._driver.request(), self._driver)

    def rescale(self, scale: Scale) -> None:
        """Another price per count: some meters' flow figures follow from it."""
        rescale = getattr(self._driver, "rescale", None)
        if rescale is not None:
            rescale(scale)

    def close(self) -> None:
        self._line.close()
