"""The check, and what else works on the log while no service runs."""

from __future__ import annotations

import time
from uuid import uuid4

from .. import __version__
from ..adapters.clock import SystemClock, boot_id, hardware_id
from ..config import Config
from ..core.model import StreamHeader
from ..services.check import Checker
from .running import become_owner, make_folders


def checker(config: Config) -> Checker:
    """The check of this station's log. Raises StationError where there is no folder for it."""
    make_folders(config)
    become_owner(config)
    clock = SystemClock()
    return Checker(
        log=config.log_path,
        lock=config.state_dir / "log.lock",
        mono_s=time.monotonic,
        now_ms=lambda: clock.wall_ns() // 1_000_000,
        mono_ms=lambda: clock.mono_ns() // 1_000_000,
        new_stream=lambda: meterless_stream(clock),
    )


def meterless_stream(clock: SystemClock) -> StreamHeader:
    """A stream for what a command has to say by itself."""
    return StreamHeader(
        id=uuid4(),
        meter_id=None,
        identity=None,
        identity_strong=False,
        epoch=None,
        epoch_from=0,
        modulus=None,
        opening_counts=0,
        scale=None,
        opened_at_ms=clock.wall_ns() // 1_000_000,
        boot_id=boot_id(),
        meter_boot_id=None,
        hardware_id=hardware_id(),
        software=__version__,
        clock=clock.quality(),
    )
