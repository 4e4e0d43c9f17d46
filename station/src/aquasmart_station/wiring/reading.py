"""The reader service and its meters."""

from __future__ import annotations

import random
from uuid import uuid4

from .. import __version__
from ..adapters.clock import SystemClock, boot_id, hardware_id
from ..adapters.live import LiveBoard
from ..adapters.log_keeper import LogKeeper
from ..adapters.log_writer import LogWriter
from ..adapters.meter_line import DrivenLine
from ..adapters.reserve import Reserve
from ..adapters.serial_port import SerialLine
from ..adapters.watchdog import SystemdWatchdog
from ..config import Config, MeterConfig
from ..core.accounting import Account
from ..core.model import Board, Resume
from ..core.ports import EventLog, Watchdog
from ..meters.driver import make_driver
from ..services.housekeeping import Housekeeping
from ..services.polling import MeterPoller, Shelf
from ..services.reader import Reader
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
        reader = _reader(config, watchdog)
        stopper.tell(reader.stop)
        reader.run()


def board(config: Config) -> Board:
    """This board, as stream headers name it."""
    return Board(config.station_id, boot_id(), hardware_id(), __version__)


def line_of(meter: MeterConfig) -> DrivenLine:
    """A meter's port with its driver, not yet open."""
    driver = make_driver(meter.settings)
    return DrivenLine(SerialLine(meter.port, driver.line), driver)


def _reader(config: Config, watchdog: Watchdog) -> Reader:
    clock, here = SystemClock(), board(config)

    def pollers(log: EventLog, shelf: Shelf) -> list[MeterPoller]:
        return [
            MeterPoller(
                meter_id=meter.id,
                line=line_of(meter),
                account=_account(meter, log.resume(meter.id), here, clock),
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
    return Reader(
        log=LogWriter(config.log_path),
        live=LiveBoard(config.live_path),
        watchdog=watchdog,
        clock=clock,
        board=here,
        shelf=shelf,
        house=house,
        make_pollers=pollers,
        new_id=uuid4,
        commit_interval_s=config.reader.commit_interval_s,
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
