"""The machine's clocks and identity: CLOCK_BOOTTIME, wall time and its quality, boot id, board serial."""

from __future__ import annotations

import time
from pathlib import Path

from ..core.clock_floor import EARLIEST_PLAUSIBLE_MS

try:
    # The interpreter's own, as its `random` takes it: `hashlib` brings OpenSSL, 3.6 MB of the reader for one hash.
    from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 on
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256

_SERIALS = (
    Path("/sys/firmware/devicetree/base/serial-number"),
    Path("/sys/class/dmi/id/product_uuid"),
    Path("/etc/machine-id"),
)
_RTC = Path("/sys/class/rtc")
_SYNCHRONISED = (Path("/run/systemd/timesync/synchronized"), Path("/run/chrony/synchronized"))


class SystemClock:
    """The real clocks."""

    def mono_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        return time.time_ns()

    def quality(self) -> str:
        """How far the wall clock is to be believed.

        ntp: a time service says that it is synchronised. rtc: the board has a battery-backed clock. restored: it has
        none, and goes on from where it was switched off or from a floor. unset: not even
        plausible (a Pi without a battery starts in 1970).
        """
        if time.time_ns() // 1_000_000 < EARLIEST_PLAUSIBLE_MS:
            return "unset"
        if any(path.exists() for path in _SYNCHRONISED):
            return "ntp"
        return "rtc" if any(_RTC.glob("rtc*")) else "restored"


def boot_id() -> str:
    """The kernel's id of this boot: monotonic times compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def hardware_id() -> str:
    """32 hex digits of a hash of the board's serial number: tells boards apart without naming them."""
    for path in _SERIALS:
        try:
            serial = path.read_bytes().strip(b"\0\n ")
        except OSError:
            continue
        if serial:
            digest: str = sha256(b"aquasmart-hardware:" + serial).hexdigest()
            return digest[:32]
    return "0" * 32
