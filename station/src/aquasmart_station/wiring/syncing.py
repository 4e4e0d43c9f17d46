"""The sync service: its lock, its outbox, its two couriers."""

from __future__ import annotations

import random
import time
from pathlib import Path

from .. import __version__
from ..adapters.clock import SystemClock
from ..adapters.http import HttpCourier, LinkUse
from ..adapters.journal import Journal
from ..adapters.live import LiveBoard, asked_to_hurry, board_conditions, read_meters, read_service
from ..adapters.log_file import has_schema
from ..adapters.log_outbox import Outbox
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.conversation import CloudClock, Identity
from ..core.ports import Watchdog
from ..core.showing import LOG_DAMAGED
from ..core.token_bucket import OVERHEAD_BYTES, TokenBucket
from ..services.heartbeat import HeartbeatLane
from ..services.sync import Sync, SyncSettings, take_over
from ..services.telling import TellingDisplay
from .reaching import http_settings
from .running import Stopper, held, make_folders, shared


def run_sync(config: Config) -> None:
    """The sync service, until SIGTERM. Raises StationError where it cannot start, Fenced where it was replaced."""
    stopper = Stopper()
    make_folders(config)
    watchdog, clock, cloud_clock = SystemdWatchdog(), SystemClock(), CloudClock()
    cloud, settings, use = config.cloud, http_settings(config.cloud), LinkUse()
    allowance = TokenBucket(config.sync.bytes_per_hour, config.sync.burst_bytes)

    def spent(size: int) -> None:
        allowance.spend(size + OVERHEAD_BYTES, clock.mono_ns() / 1e9)

    def courier(lane: str) -> HttpCourier:
        """Every lane spends of the one allowance; only telemetry waits for it."""
        return HttpCourier(settings, lane=lane, use=use, spent=spent)

    identity = Identity(config.station_id, cloud.key_id, __version__, cloud.key)
    outbox = Outbox(config.log_path)
    with (
        held(config.state_dir / "sync.lock", watchdog, stopper, what="sync") as ours,
        shared(config.state_dir / "log.lock"),
    ):
        if not ours:
            return
        if not _await_log(config.log_path, watchdog, stopper):
            return
        take_over(outbox, clock.wall_ns() // 1_000_000)
        heartbeat = HeartbeatLane(
            courier=courier("heartbeat"),
            identity=identity,
            clock=clock,
            cloud_clock=cloud_clock,
            interval_s=config.sync.heartbeat_s,
            meters=lambda: read_meters(config.live_path),
            draw=random.random,
        )
        sync = Sync(
            outbox=outbox,
            courier=courier("telemetry"),
            heartbeat=heartbeat,
            identity=identity,
            settings=SyncSettings(config.sync.linger_s, config.sync.batch_rows_max),
            clock=clock,
            cloud_clock=cloud_clock,
            live=TellingDisplay(LiveBoard(config.live_path), Journal("aquasmart-sync"), "sync"),
            watchdog=watchdog,
            draw=random.random,
            reader_gave_up=lambda: _gave_up(config.live_path),
            hurry=lambda: asked_to_hurry(config.live_path),
            link=use.document,
            allowance=allowance,
            conditions=lambda: board_conditions(config.live_path),
        )
        stopper.tell(sync.stop)
        sync.run()


def _gave_up(live_path: Path) -> bool:
    said = read_service(live_path, "reader_state")
    return said is not None and said.state == LOG_DAMAGED


def _await_log(path: Path, watchdog: Watchdog, stopper: Stopper) -> bool:
    """Wait until the reader has made the log: sync may start first."""
    ready = False
    while not stopper.asked:
        if has_schema(path):
            return True
        if not ready:
            ready = True
            watchdog.ready()
        watchdog.status("waiting for the reader to create the log")
        watchdog.pet()
        time.sleep(0.25)
    return False
