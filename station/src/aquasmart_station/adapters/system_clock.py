"""Setting the system's clock: once at boot, upwards to its floor, never otherwise."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from ..core.errors import StationError
from ..core.phrases import Phrase

BUILD_EPOCH = Path("/usr/lib/clock-epoch")
"""Its modification time is when the image was built (systemd's own convention, systemd.time-epoch)."""


def built_ms(path: Path = BUILD_EPOCH) -> int | None:
    """When the image was built; None where the file is not there (a workshop machine, a package on Debian)."""
    try:
        return int(path.stat().st_mtime * 1000)
    except OSError:
        return None


def set_clock(wall_ms: int) -> None:
    """Set the wall clock. Raises StationError where this process may not."""
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, wall_ms * 1_000_000)
    except OSError as fault:
        if fault.errno != errno.EPERM:
            raise StationError(Phrase("the clock cannot be set: {strerror}", strerror=fault.strerror)) from fault
        raise StationError(
            Phrase("the clock cannot be set: not permitted"),
            hint=Phrase("Run it as root, or with CAP_SYS_TIME as its unit does."),
        ) from fault
