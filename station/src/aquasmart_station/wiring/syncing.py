"""The sync service: its lock, its outbox, its two couriers."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..adapters.clock import SystemClock
from ..adapters.http import HttpCourier, HttpSettings
from ..adapters.link import LinkGauge
from ..adapters.live import LiveBoard, asked_to_hurry, read_meters, read_service
from ..adapters.log_file import has_schema
from ..adapters.log_outbox import Outbox
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.conversation import CloudClock, Identity
from ..core.keyring import KeyRing
from ..core.pacing import fleet_of
from ..core.ports import Watchdog
from ..core.showing import LOG_DAMAGED
from ..services.exchange import Exchange
from ..services.heartbeat import HeartbeatLane
from ..services.sync import Sync, take_over
from ..services.sync_display import Figures
from ..services.telemetry import SyncSettings, TelemetryLane
from .running import Stopper, held, make_folders, shared


def run_sync(config: Config) -> None:
    """The sync service, until SIGTERM. Raises StationError where it cannot start, Fenced where it was replaced."""
    stopper = Stopper()
    make_folders(config)
    watchdog, clock, outbox = SystemdWatchdog(), SystemClock(), Outbox(config.log_path)
    with (
        held(config.state_dir / "sync.lock", watchdog, stopper, what="sync") as ours,
        shared(config.state_dir / "log.lock"),
    ):
        if not ours:
            return
        if not _await_log(config.log_path, watchdog, stopper):
            return
        take_over(outbox, clock.wall_ns() // 1_000_000)
        sync = _sync(config, outbox, clock, watchdog)
        stopper.tell(sync.stop)
        sync.run()


def _sync(config: Config, outbox: Outbox, clock: SystemClock, watchdog: Watchdog) -> Sync:
    """The lanes and the loop over them. Each lane has a courier, and so a connection, of its own."""
    cloud, figures, cloud_clock = config.cloud, Figures(), CloudClock()
    keys = KeyRing([Identity(config.station_id, cloud.key_id, __version__, cloud.key)])
    http = HttpSettings(cloud.url, cloud.connect_timeout_s, cloud.read_timeout_s, cloud.ca_file, cloud.tls_1_2)

    def heard(at_ms: int) -> None:
        figures.verified(clock.wall_ns() // 1_000_000)
        outbox.note_cloud_time(at_ms)

    def announced(data: Mapping[str, Any]) -> None:
        figures.fleet = fleet_of(data, figures.fleet)

    def exchange() -> Exchange:
        return Exchange(HttpCourier(http), keys, clock, cloud_clock, heard=heard)

    telemetry = TelemetryLane(
        outbox=outbox,
        exchange=exchange(),
        settings=SyncSettings(config.sync.linger_s, config.sync.batch_rows_max, config.sync.recheck_s),
        clock=clock,
        figures=figures,
        draw=random.random,
        announced=announced,
        hurry=lambda: asked_to_hurry(config.live_path),
    )
    heartbeat = HeartbeatLane(
        exchange=exchange(),
        figures=figures,
        clock=clock,
        software=__version__,
        interval_s=config.sync.heartbeat_s,
        recheck_s=config.sync.recheck_s,
        meters=lambda: read_meters(config.live_path),
        retained=outbox.retained,
        draw=random.random,
        facts=lambda: {"keys": keys.key_ids},
        announced=announced,
        came_through=telemetry.heard_elsewhere,
        resend=telemetry.resend_from,
    )
    return Sync(
        outbox=outbox,
        telemetry=telemetry,
        lanes=[heartbeat],
        figures=figures,
        linger_s=config.sync.linger_s,
        clock=clock,
        live=LiveBoard(config.live_path),
        watchdog=watchdog,
        links=LinkGauge(),
        reader_gave_up=lambda: _gave_up(config.live_path),
    )


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
