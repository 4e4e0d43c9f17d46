"""The board's LED through /sys/class/leds: taken over, lit, dark, given back. What it says is core/led.py's.

The folder is a parameter: a test gives one of its own.
The group `aquasmart-led` may write these files by a udev rule (systemd/60-aquasmart.rules).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

LEDS = Path("/sys/class/leds")
USUAL = ("aquasmart", "ACT", "led0", "beaglebone:green:usr0", "beaglebone:green:heartbeat")
"""Names that boards give an LED that is to be had; one that is called after us is meant for us."""


def find_led(name: str | None, folder: Path = LEDS) -> Path | None:
    """The LED of that name, or the first of the usual ones; None where the board has none of them."""
    for each in (name,) if name else USUAL:
        if (folder / each / "brightness").exists():
            return folder / each
    return None


class SysfsLed:
    """One LED. The constructor stores its folder only; `take` before the first `light`. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._full = "1"
        self._former: str | None = None

    def take(self) -> None:
        """From now on nobody but us drives it: the kernel's trigger is switched off."""
        with contextlib.suppress(FileNotFoundError):
            self._full = (self.folder / "max_brightness").read_text(encoding="ascii").strip() or "1"
        with contextlib.suppress(FileNotFoundError):
            trigger = self.folder / "trigger"
            chosen = [word for word in trigger.read_text(encoding="ascii").split() if word.startswith("[")]
            self._former = chosen[0].strip("[]") if chosen else None
            _write(trigger, "none")

    def light(self, *, on: bool) -> None:
        _write(self.folder / "brightness", self._full if on else "0")

    def release(self) -> None:
        """Dark, and the kernel's again."""
        with contextlib.suppress(OSError):
            self.light(on=False)
            if self._former and self._former != "none":
                _write(self.folder / "trigger", self._former)


def _write(path: Path, text: str) -> None:
    # One write of the whole value: that is what sysfs takes.
    with path.open("wb", buffering=0) as file:
        file.write(text.encode("ascii"))
