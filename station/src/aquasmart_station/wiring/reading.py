"""The reader service and its meters."""

from __future__ import annotations

import random
from uuid import uuid4

from .. import __version__
from ..adapters.board_sensors import BoardSensors, find_vcgencmd
from ..adapters.clock import SystemClock, boot_id, hardware_id
from ..adapters.journal import Journal
from ..adapters.live import LiveBoard
from ..adapters.log_keeper import LogKeeper
from ..adapters.log_writer import LogWriter
from ..adapters.meter_line import DrivenLine
from ..adapters.ops import OpsFile
from ..adapters.reserve import Reserve
from ..adapters.serial_port import SerialLine
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config, DetectConfig, MeterConfig
from ..core.accounting import Account
from ..core.anomaly import Sensitivity
from ..core.model import Board, Resume
from ..core.observing import MeterObserver
from ..core.ports import EventLog, Watchdog
from ..core.watching import WatchSettings
from ..meters.driver import make_driver
from ..services.adopting import Defaults, ReaderSettings, SettingsWatch
from ..services.diagnosing import Diagnoser
from ..services.housekeeping import Housekeeping
from ..services.polling import MeterPoller, Shelf
from ..services.reader import Reader
from ..services.swapping import MeterSwaps
from ..services.telling import TellingDisplay
from ..services.timekeeping import Timekeeper
from .running import Stopper, held, make_folders, shared


def run_reader(config: Config) -> None:
    """The reader service, until SIGTERM. Raises StationError where it cannot start."""
    stopper = Stopper()
    make_folders(config)
    watchdog = SystemdWatchdog()
    # Two readers on one meter would log its water twice; the cloud books it once, but the station's own figures would
    # be wrong. So a second reader waits for the first (docs/decisions/0004-reader-lock.md).
    with (
        held(config.state_dir / "reader.lock", watchdog, stopper, what="reader") as ours,
        shared(config.state_dir / "log.lock"),
    ):
        if not ours:
            return
        reader = make_reader(config, watchdog)
        stopper.tell(reader.stop)
        reader.run()


def board(config: Config) -> Board:
    """This board, as stream headers name it."""
    return Board(config.station_id, boot_id(), hardware_id(), __version__)


def line_of(meter: MeterConfig) -> DrivenLine:
    """A meter's port with its driver, not yet open."""
    driver = make_driver(meter.settings)
    return DrivenLine(SerialLine(meter.port, driver.line), driver)


def make_reader(config: Config, watchdog: Watchdog) -> Reader:
    """The reader of this configuration, not yet running; whoever runs it holds the locks."""
    clock, here, detect = SystemClock(), board(config), config.detect
    sensitivity = Sensitivity(detect.threshold, detect.window, detect.warm_up)

    def pollers(log: EventLog, shelf: Shelf) -> list[MeterPoller]:
        return [
            MeterPoller(
                meter_id=meter.id,
                line=line_of(meter),
                observer=MeterObserver(
                    _account(meter, log.resume(meter.id), here, clock),
                    make_driver(meter.settings).traits,
                    settings=_watch_settings(detect),
                    sensitivity=sensitivity,
                    period_ms=int(1000 / config.reader.poll_hz),
                ),
                shelf=shelf,
                clock=clock,
                period_s=1 / config.reader.poll_hz,
                idle_heartbeat_s=config.reader.idle_heartbeat_s,
                draw=random.random,
            )
            for meter in config.meters
        ]

    shelf = Shelf(config.reader.ring_rows)
    house = Housekeeping(
        keeper=LogKeeper(config.log_path, budget_bytes=config.log.budget_bytes, retention_ms=config.log.retention_ms),
        reserve=Reserve(config.state_dir),
        reasons=shelf.reasons,
        ring=shelf.ring,
        clock=clock,
    )
    log, ops = LogWriter(config.log_path), OpsFile(config.ops_path)
    return Reader(
        log=log,
        live=TellingDisplay(LiveBoard(config.live_path), Journal("aquasmart-reader"), "reader"),
        watchdog=watchdog,
        clock=clock,
        board=here,
        shelf=shelf,
        house=house,
        make_pollers=pollers,
        diagnoser=Diagnoser(
            board=BoardSensors(clock, config.state_dir, vcgencmd=find_vcgencmd()),
            clock=clock,
            sensitivity=sensitivity,
            reasons=shelf.reasons,
            interval_s=detect.diagnostics_interval_s,
            supply_low_mv=detect.supply_low_mv,
        ),
        timekeeper=Timekeeper(log, clock, here.boot_id),
        new_id=uuid4,
        settings=ReaderSettings(SettingsWatch(ops, clock.mono_ns), _defaults(config), sensitivity),
        swaps=MeterSwaps(ops=ops, log=log, clock=clock),
    )


def _defaults(config: Config) -> Defaults:
    reader, detect = config.reader, config.detect
    return Defaults(
        commit_interval_s=reader.commit_interval_s,
        idle_heartbeat_s=reader.idle_heartbeat_s,
        poll_hz=reader.poll_hz,
        threshold=detect.threshold,
        leak_after_s=detect.leak_after_s,
        slow_leak_after_s=detect.slow_leak_after_s,
        stuck_after_s=detect.stuck_after_s,
        no_flow_after_s=detect.no_flow_after_s,
        scales={meter.id: make_driver(meter.settings).traits.scale for meter in config.meters},
    )


def _watch_settings(detect: DetectConfig) -> WatchSettings:
    return WatchSettings(
        leak_after_ms=int(detect.leak_after_s * 1000),
        slow_leak_after_ms=int(detect.slow_leak_after_s * 1000),
        stuck_after_ms=int(detect.stuck_after_s * 1000),
        no_flow_after_ms=int(detect.no_flow_after_s * 1000),
    )


def _account(meter: MeterConfig, resume: Resume | None, here: Board, clock: SystemClock) -> Account:
    return Account(
        board=here,
        meter_id=meter.id,
        traits=make_driver(meter.settings).traits,
        resume=resume,
        new_id=uuid4,
        clock=clock.quality(),
        last_data=resume.data if resume else None,
    )
