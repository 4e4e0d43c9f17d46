"""The update agent: its folder and lock, its way to the cloud, and the program that installs."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..adapters.clock import SystemClock, boot_id
from ..adapters.http import HttpCourier
from ..adapters.journal import Journal
from ..adapters.live import read_meters, read_service
from ..adapters.log_space import may_yet_need
from ..adapters.ops import OpsFile
from ..adapters.rauc import Rauc
from ..adapters.update_files import UpdateFiles
from ..adapters.update_folder import UpdateFault, UpdateFolder
from ..adapters.update_results import tell
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.conversation import CloudClock
from ..core.errors import NotNow, NotThis, StationError, UpdateError
from ..core.maintenance import Image
from ..core.phrases import Phrase
from ..core.stillness import Stillness
from ..core.token_bucket import TokenBucket
from ..services.exchange import Exchange
from ..services.fetching import Stopping, Surroundings, UpdateAgent
from ..services.report import running_state
from ..services.update_line import UpdateLine
from ..services.updating import Refused, install, look_at_station
from .keys import keyring_of
from .reaching import http_settings
from .running import Stopper, held

REBOOT = ("systemctl", "reboot")
REBOOT_S = 30.0
_BUSY = "already processing"
"""RAUC, where another installation is under way."""


def run_update_agent(config: Config) -> None:
    """The agent, until SIGTERM. Raises StationError where it cannot start."""
    stopper, watchdog = Stopper(), SystemdWatchdog()
    folder = UpdateFolder(config.update.folder, config.update.image_file)
    _make(folder, watchdog, stopper)
    with held(folder.folder / "update.lock", watchdog, stopper, what="update agent") as ours:
        if not ours:
            return
        agent, stop = _agent(config, folder, watchdog, stopper), threading.Event()
        stopper.tell(stop.set)
        watchdog.ready()
        try:
            while not stop.is_set():
                stop.wait(agent.cycle())
        except Stopping:
            pass
        finally:
            watchdog.stopping()


def _make(folder: UpdateFolder, watchdog: SystemdWatchdog, stopper: Stopper) -> None:
    """The folder; a partition that refuses is waited for, and said."""
    while not stopper.asked:
        try:
            folder.make()
        except UpdateFault as fault:
            watchdog.ready()
            watchdog.status(f"{fault} {fault.hint}")
            watchdog.pet()
            time.sleep(1.0)
        else:
            return


def _agent(config: Config, folder: UpdateFolder, watchdog: SystemdWatchdog, stopper: Stopper) -> UpdateAgent:
    clock, cloud_clock = SystemClock(), CloudClock()
    courier = HttpCourier(http_settings(config.cloud), lane="update")
    ops = OpsFile(config.ops_path)
    stillness = Stillness([meter.id for meter in config.meters], int(config.update.quiet_s * 1000))

    def mono_ms() -> int:
        return clock.mono_ns() // 1_000_000

    def unfit() -> str:
        runs = running_state(read_service(config.live_path, "reader_state")) == "running"
        stillness.see(mono_ms(), reader_runs=runs, shown=read_meters(config.live_path))
        return stillness.unfit

    def log_needs_bytes() -> int:
        if not folder.shares_partition(config.state_dir):
            return 0
        return may_yet_need(config.log_path, config.log.budget_bytes, config.log.retention_ms)

    line = UpdateLine(
        exchange=lambda: Exchange(courier, keyring_of(config), clock, cloud_clock, lane="operation"),
        clock=clock,
        draw=random.random,
        allowance=TokenBucket(config.sync.bytes_per_hour, config.sync.burst_bytes),
    )
    return UpdateAgent(
        folder=folder,
        line=line,
        installer=ImageInstaller(config, Rauc()),
        around=Surroundings(
            station_id=config.station_id,
            boot_id=boot_id(),
            unfit=unfit,
            log_needs_bytes=log_needs_bytes,
            tell=lambda progress, at_ms: tell(ops, progress, at_ms),
            reboot=_reboot,
            say=Journal("aquasmart-update").say,
        ),
        clock=clock,
        watchdog=watchdog,
        draw=random.random,
        ask_s=config.update.ask_s,
        cloud_ms=lambda: cloud_clock.told_ms(mono_ms=mono_ms()),
        stopping=lambda: stopper.asked,
    )


class ImageInstaller:
    """The one way in, as for a technician: services/updating.py asks what speaks against it, and notes what the new
    image must prove."""

    def __init__(self, config: Config, rauc: Rauc) -> None:
        self._config, self._rauc = config, rauc
        self._files = UpdateFiles(state=config.update.folder, image=config.update.image_file)

    def info(self, path: Path) -> Image:
        said = self._rauc.info(path)
        return Image(said.version, said.number, said.compatible)

    def install(self, path: Path, on_progress: Callable[[int, str], None]) -> None:
        try:
            install(
                path,
                rauc=self._rauc,
                files=self._files,
                look=lambda: look_at_station(self._config, self._files),
                on_progress=on_progress,
            )
        except Refused as refusal:
            raise (NotThis if refusal.final else NotNow)(refusal.args[0], hint=refusal.hint) from refusal
        except UpdateError as fault:
            if _BUSY in str(fault).lower():
                raise NotNow(fault.args[0], hint=fault.hint) from fault
            raise


def _reboot() -> None:
    try:
        done = subprocess.run(REBOOT, capture_output=True, text=True, timeout=REBOOT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise StationError(Phrase("this station cannot be restarted: {reason}", reason=str(fault))) from fault
    if done.returncode:
        raise StationError(Phrase("this station cannot be restarted: {reason}", reason=done.stderr.strip()[:200]))
