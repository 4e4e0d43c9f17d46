"""The sync service: its lock, its outbox, its two couriers."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..adapters.clock import SystemClock
from ..adapters.config_rows import InForce
from ..adapters.http import HttpCourier, LinkUse
from ..adapters.journal import Journal
from ..adapters.link import LinkGauge
from ..adapters.live import LiveBoard, asked_to_hurry, board_conditions, read_meters, read_service
from ..adapters.log_file import has_schema
from ..adapters.log_outbox import Outbox
from ..adapters.ops import OpsFile
from ..adapters.otel import span_sink
from ..adapters.renewing import RenewableCourier
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config
from ..core.conversation import CloudClock
from ..core.errors import Fenced, LogDamaged, LogError, OpsError
from ..core.outcome import LaneName
from ..core.ports import Watchdog
from ..core.showing import LOG_DAMAGED
from ..core.token_bucket import OVERHEAD_BYTES, TokenBucket
from ..services.draining import DrainLane
from ..services.exchange import Exchange
from ..services.fleet_memory import FleetMemory
from ..services.heartbeat import HeartbeatLane
from ..services.sync import Sync, take_over
from ..services.sync_display import Figures
from ..services.telemetry import SyncSettings, TelemetryLane
from ..services.telling import TellingDisplay
from .keys import keyring_of
from .reaching import http_settings
from .remote import open_ops, remote
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
        ops = _take_over(config, outbox, clock, watchdog, stopper)
        if ops is None:
            return
        sync = _sync(config, outbox, ops, clock, watchdog)
        stopper.tell(sync.stop)
        sync.run()


def _take_over(
    config: Config, outbox: Outbox, clock: SystemClock, watchdog: Watchdog, stopper: Stopper
) -> OpsFile | None:
    """Log and operations, taken over; None where we were told to stop meanwhile. A disk that refuses (full, as a rule)
    is waited for, and said: the reader makes room. Raises LogDamaged, where only the check can help."""
    while not stopper.asked:
        now_ms = clock.wall_ns() // 1_000_000
        try:
            take_over(outbox, now_ms)
            return open_ops(config, now_ms)
        except LogDamaged:
            raise
        except (LogError, OpsError) as fault:
            outbox.close()
            watchdog.ready()
            watchdog.status(f"log-fault · {fault} {fault.hint or ''} · trying again each second".replace("  ", " "))
            watchdog.pet()
            time.sleep(1.0)
    return None


def _sync(config: Config, outbox: Outbox, ops: OpsFile, clock: SystemClock, watchdog: Watchdog) -> Sync:
    """The lanes and the loop over them. Each lane has a courier, and so a connection, of its own."""
    cloud, figures, cloud_clock = config.cloud, Figures(), CloudClock()
    fleet = FleetMemory(ops, figures)
    http, use, span = http_settings(cloud), LinkUse(), span_sink("aquasmart-station")
    allowance = TokenBucket(config.sync.bytes_per_hour, config.sync.burst_bytes)
    keys = keyring_of(config)
    couriers: list[RenewableCourier] = []
    lanes_heard_s = 0.0

    def verified(at_ms: int) -> None:
        figures.verified(clock.wall_ns() // 1_000_000)
        try:
            outbox.note_cloud_time(at_ms)
        except Fenced:
            raise
        except LogError:
            pass  # a floor for the clock is not worth an answer; the next one brings it again

    def heard(at_ms: int) -> None:
        nonlocal lanes_heard_s
        lanes_heard_s = clock.mono_ns() / 1e9
        verified(at_ms)

    def announced(data: Mapping[str, Any]) -> None:
        fleet.heard(data)
        lanes.announced(data)

    def spent(size: int) -> None:
        # Every lane spends of the one allowance; only telemetry waits for it.
        allowance.spend(size + OVERHEAD_BYTES, clock.mono_ns() / 1e9)

    def courier(name: str) -> RenewableCourier:
        return RenewableCourier(
            lambda connect_s, read_s: HttpCourier(
                replace(http, connect_timeout_s=connect_s, read_timeout_s=read_s), lane=name, use=use, spent=spent
            ),
            cloud.connect_timeout_s,
            cloud.read_timeout_s,
        )

    def exchange(name: str, lane: LaneName = "telemetry") -> Exchange:
        couriers.append(courier(name))
        return Exchange(couriers[-1], keys, clock, cloud_clock, lane=lane, heard=heard, span=span)

    def apply(force: InForce) -> None:
        """The settings that sync owns. A trial's times are not for the courier that tells whether it is at fault."""
        settings = force.settings
        linger_s = settings.get(("sync", "linger_s"), config.sync.linger_s)
        rows = settings.get(("sync", "batch_rows_max"), config.sync.batch_rows_max)
        telemetry.adopt(SyncSettings(linger_s, rows, config.sync.recheck_s))
        heartbeat_s = settings.get(("sync", "heartbeat_s"), config.sync.heartbeat_s)
        # On trial the lanes must speak often enough for their silence to mean something.
        heartbeat.adopt(min(heartbeat_s, max(0.2, config.sync.trial_s / 15)) if force.trial else heartbeat_s)
        sync.adopt(linger_s)
        times = (
            settings.get(("cloud", "connect_timeout_s"), cloud.connect_timeout_s),
            settings.get(("cloud", "read_timeout_s"), cloud.read_timeout_s),
        )
        for each in couriers if force.trial else [*couriers, cautious]:
            each.renew(*times)

    def note_resent(stream_id: str, seq: int, now_ms: int) -> None:
        telemetry.note_resent(stream_id, seq, now_ms)

    cautious = courier("settings")
    lanes = remote(
        config,
        ops,
        clock,
        keys,
        lane=exchange("operations", "operation"),
        cautious=Exchange(cautious, keys, clock, cloud_clock, lane="operation", heard=verified, span=span),
        lanes_heard_s=lambda: lanes_heard_s,
        note_resent=note_resent,
        apply=apply,
    )
    telemetry = TelemetryLane(
        outbox=outbox,
        exchange=exchange("telemetry"),
        settings=SyncSettings(config.sync.linger_s, config.sync.batch_rows_max, config.sync.recheck_s),
        clock=clock,
        figures=figures,
        draw=random.random,
        announced=announced,
        hurry=lambda: drain.asked or asked_to_hurry(config.live_path),
        allowance=allowance,
    )
    drain = DrainLane(ops=ops, outbox=outbox, clock=clock, go=telemetry.way_may_be_free)
    heartbeat = HeartbeatLane(
        exchange=exchange("heartbeat"),
        figures=figures,
        clock=clock,
        software=__version__,
        interval_s=config.sync.heartbeat_s,
        recheck_s=config.sync.recheck_s,
        meters=lambda: read_meters(config.live_path),
        retained=outbox.retained,
        draw=random.random,
        facts=lambda: {"keys": keys.key_ids, **lanes.config.facts()},
        announced=announced,
        came_through=telemetry.heard_elsewhere,
        resend=telemetry.resend_from,
    )
    sync = Sync(
        outbox=outbox,
        telemetry=telemetry,
        lanes=[heartbeat, lanes.operations, lanes.config, drain],
        figures=figures,
        linger_s=config.sync.linger_s,
        clock=clock,
        live=TellingDisplay(LiveBoard(config.live_path), Journal("aquasmart-sync"), "sync"),
        watchdog=watchdog,
        links=LinkGauge(),
        reader_gave_up=lambda: _gave_up(config.live_path),
        conditions=lambda: board_conditions(config.live_path),
        link=use.document,
    )
    return sync


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
