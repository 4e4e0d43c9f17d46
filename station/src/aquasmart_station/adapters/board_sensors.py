"""What the board says of itself: firmware throttling, voltage, temperature, disk, memory. Files in, figures out.

Every path lies under `root`, so that a test gives a directory tree of its own. A sensor that is missing or says
something unreadable gives None: boards differ, and no figure is worth a fault. Nothing here waits: the one program
that is asked, on a board without the firmware's file, is started at one look and read at a later one.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.diagnosis import BoardFigures
from ..core.ports import Clock

if TYPE_CHECKING:
    import subprocess

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
THERMAL = "sys/class/thermal"
HWMON = "sys/class/hwmon"
MEMINFO = "proc/meminfo"

BUS_MONITORS = re.compile(r"ina(209|219|220|226|230|231|2xx|238|260|3221)")
"""Monitors whose in1 is the bus voltage."""
SUPPLY_LABELS = frozenset({"vin", "vcc", "supply", "5v", "vdd_5v", "vbus"})


class Firmware:
    """`vcgencmd get_throttled` of boards whose kernel shows no file for it. Never waited for."""

    def __init__(self, program: str | None) -> None:
        self._program = program
        self._running: subprocess.Popen[str] | None = None
        self._bits: int | None = None

    def throttled(self) -> int | None:
        """What the last finished call said; starts the next one."""
        if self._program is None:
            return None
        running = self._running
        if running is not None:
            if running.poll() is None:
                return self._bits
            said, _ = running.communicate()
            self._bits = _hexadecimal(said.partition("=")[2]) if running.returncode == 0 else None
        import subprocess  # half a megabyte, only for boards that have the program

        try:
            self._running = subprocess.Popen(
                [self._program, "get_throttled"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            self._running = self._program = self._bits = None
        return self._bits

    def close(self) -> None:
        """End a call under way."""
        running, self._running = self._running, None
        if running is not None:
            running.kill()
            running.communicate()


class BoardSensors:
    """Looks at the board. `state_dir` is the folder whose partition must not fill up."""

    def __init__(self, clock: Clock, state_dir: Path, root: Path = Path("/"), vcgencmd: str | None = None) -> None:
        self._clock, self._state_dir, self._root = clock, state_dir, root
        self._firmware = Firmware(vcgencmd)

    def look(self) -> BoardFigures:
        """Everything the board shows at this moment."""
        bits = _hexadecimal(_text(self._root / FIRMWARE))
        alarm, supply_mv = self._supply()
        free, total = self._disk()
        return BoardFigures(
            clock=self._clock.quality(),
            throttled=self._firmware.throttled() if bits is None else bits,
            supply_alarm=alarm,
            supply_mv=supply_mv,
            temperature_mc=self._temperature(),
            disk_free_bytes=free,
            disk_bytes=total,
            memory_available_bytes=self._memory(),
        )

    def close(self) -> None:
        self._firmware.close()

    def _temperature(self) -> int | None:
        zones = (self._root / THERMAL).glob("thermal_zone*/temp")
        return max((mc for mc in map(_whole, zones) if mc is not None), default=None)

    def _supply(self) -> tuple[bool | None, int | None]:
        """The supply's alarm and its voltage in mV, of the first monitor that has either."""
        alarm: bool | None = None
        supply_mv: int | None = None
        for chip in sorted((self._root / HWMON).glob("hwmon*")):
            name = (_text(chip / "name") or "").strip()
            if name == "rpi_volt":
                said = _whole(chip / "in0_lcrit_alarm")
                alarm = alarm if said is None else bool(said)
            if supply_mv is None:
                supply_mv = _bus_mv(chip, name)
        return alarm, supply_mv

    def _memory(self) -> int | None:
        found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB$", _text(self._root / MEMINFO) or "")
        return int(found[1]) * 1024 if found else None

    def _disk(self) -> tuple[int | None, int | None]:
        """Bytes that the service may still write, and the partition's size."""
        try:
            stat = os.statvfs(self._state_dir)
        except OSError:
            return None, None
        return stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize


def find_vcgencmd() -> str | None:
    """The firmware's program, where it is installed."""
    found = (Path(folder) / "vcgencmd" for folder in os.get_exec_path())
    return next((str(path) for path in found if path.is_file() and os.access(path, os.X_OK)), None)


def _bus_mv(chip: Path, name: str) -> int | None:
    if BUS_MONITORS.fullmatch(name):
        return _whole(chip / "in1_input")
    for label in sorted(chip.glob("in*_label")):
        if (_text(label) or "").strip().lower() in SUPPLY_LABELS:
            return _whole(label.with_name(label.name.replace("_label", "_input")))
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def _whole(path: Path) -> int | None:
    with contextlib.suppress(ValueError):
        return int((_text(path) or "").strip())
    return None


def _hexadecimal(text: str | None) -> int | None:
    with contextlib.suppress(ValueError):
        return int((text or "").strip(), 16)
    return None
