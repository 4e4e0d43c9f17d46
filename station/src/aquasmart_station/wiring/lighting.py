"""The LED service: which LED, and where it looks."""

from __future__ import annotations

import time

from ..adapters.clock import SystemClock
from ..adapters.leds import SysfsLed, find_led
from ..adapters.live import read_meters, read_service
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.led import Health, health
from ..services.led import LedService
from ..services.report import running_state
from .running import Stopper


def run_led(config: Config) -> None:
    """Drive the LED until SIGTERM."""
    stopper, watchdog = Stopper(), SystemdWatchdog()

    def find() -> SysfsLed | None:
        folder = find_led(config.led.name, config.led.folder)
        return None if folder is None else SysfsLed(folder)

    service = LedService(find, lambda: station_health(config), SystemClock(), watchdog)
    watchdog.ready()
    try:
        while not stopper.asked:
            time.sleep(service.cycle() / 1000)
    finally:
        watchdog.stopping()
        service.close()


def station_health(config: Config) -> Health:
    """By what the services show of themselves in live.db."""
    reader, sync = (read_service(config.live_path, f"{name}_state") for name in ("reader", "sync"))
    shown = read_meters(config.live_path)
    meters = [shown[meter.id].state if meter.id in shown else "waiting" for meter in config.meters]
    oldest_at_ms = sync.figures.get("oldest_at_ms") if sync is not None else None
    oldest_s = 0 if oldest_at_ms is None else max(0, (time.time_ns() // 1_000_000 - int(oldest_at_ms)) // 1000)
    return health(running_state(reader), running_state(sync), meters, oldest_s)
