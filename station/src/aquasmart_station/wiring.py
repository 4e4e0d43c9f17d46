"""Who gets what: builds the services from a configuration and runs them under their locks and signals.

The only place that knows all adapters. Nothing is decided here beyond which piece goes where.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from . import __version__
from .adapters.clock import SystemClock, boot_id, hardware_id
from .adapters.live import LiveBoard, read_meters
from .adapters.log_file import lock
from .adapters.log_writer import LogWriter
from .adapters.meter_line import DrivenLine
from .adapters.serial_port import SerialLine
from .adapters.watchdog import SystemdWatchdog
from .config import Config, MeterConfig
from .core.accounting import Account
from .core.errors import StationError
from .core.model import Board, Resume
from .core.ports import EventLog, Watchdog
from .meters.driver import make_driver
from .services.polling import MeterPoller, Shelf
from .services.reader import Reader


class Stopper:
    """SIGTERM and SIGINT ask whatever runs to stop."""

    def __init__(self) -> None:
        self.asked = False
        self._then: Callable[[], None] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def tell(self, then: Callable[[], None]) -> None:
        """Call `then` on the signal, at once where it has already come."""
        self._then = then
        if self.asked:
            then()

    def _handle(self, _number: int, _frame: object) -> None:
        self.asked = True
        self._then()


def run_reader(config: Config) -> None:
    """The reader service, until SIGTERM. Raises StationError where it cannot start."""
    stopper = Stopper()
    _make_folders(config)
    watchdog = SystemdWatchdog()
    # Two readers on one meter would log its water twice; the cloud books it once, but the station's own figures would
    # be wrong. So a second reader waits for the first (docs/decisions/0004-reader-lock.md).
    with (
        _held(config.state_dir / "reader.lock", watchdog, stopper, what="reader") as held,
        _shared(config.state_dir / "log.lock"),
    ):
        if not held:
            return
        reader = _reader(config, watchdog)
        stopper.tell(reader.stop)
        reader.run()


def run_sync(config: Config) -> None:
    """The sync service, until SIGTERM. Raises StationError where it cannot start, Fenced where it was replaced."""
    from .adapters.http import HttpCourier, HttpSettings
    from .adapters.log_outbox import Outbox
    from .core.conversation import CloudClock, Identity
    from .services.heartbeat import HeartbeatLane
    from .services.sync import Sync, SyncSettings, take_over

    stopper = Stopper()
    _make_folders(config)
    watchdog, clock, cloud_clock = SystemdWatchdog(), SystemClock(), CloudClock()
    cloud = config.cloud
    settings = HttpSettings(cloud.url, cloud.connect_timeout_s, cloud.read_timeout_s, cloud.ca_file)
    identity = Identity(config.station_id, cloud.key_id, __version__, cloud.key)
    outbox = Outbox(config.log_path)
    with (
        _held(config.state_dir / "sync.lock", watchdog, stopper, what="sync") as held,
        _shared(config.state_dir / "log.lock"),
    ):
        if not held:
            return
        if not _await_log(config.log_path, watchdog, stopper):
            return
        take_over(outbox, clock.wall_ns() // 1_000_000)
        heartbeat = HeartbeatLane(
            courier=HttpCourier(settings),
            identity=identity,
            clock=clock,
            cloud_clock=cloud_clock,
            interval_s=config.sync.heartbeat_s,
            meters=lambda: read_meters(config.live_path),
            draw=random.random,
        )
        sync = Sync(
            outbox=outbox,
            courier=HttpCourier(settings),
            heartbeat=heartbeat,
            identity=identity,
            settings=SyncSettings(config.sync.linger_s, config.sync.batch_rows_max),
            clock=clock,
            cloud_clock=cloud_clock,
            live=LiveBoard(config.live_path),
            watchdog=watchdog,
            draw=random.random,
        )
        stopper.tell(sync.stop)
        sync.run()


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

    return Reader(
        log=LogWriter(config.log_path),
        live=LiveBoard(config.live_path),
        watchdog=watchdog,
        clock=clock,
        board=here,
        shelf=Shelf(config.reader.ring_rows),
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


def _make_folders(config: Config) -> None:
    for folder in (config.state_dir, config.runtime_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise StationError(f"{folder} cannot be made: {fault.strerror}") from fault


@contextlib.contextmanager
def _held(path: Path, watchdog: Watchdog, stopper: Stopper, *, what: str) -> Iterator[bool]:
    """An exclusive lock, waited for; False where we were told to stop meanwhile. The kernel frees it when we die."""
    told = False
    while not stopper.asked:
        try:
            descriptor = lock(path, exclusive=True)
        except BlockingIOError:
            if not told:
                told = True
                print(f"another {what} holds {path.name}; waiting for it to end", file=sys.stderr, flush=True)
                watchdog.ready()
            watchdog.status(f"waiting: another {what} holds {path.name}")
            watchdog.pet()
            time.sleep(0.25)
            continue
        try:
            yield True
        finally:
            os.close(descriptor)
        return
    yield False


@contextlib.contextmanager
def _shared(path: Path) -> Iterator[None]:
    descriptor = lock(path, exclusive=False, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _await_log(path: Path, watchdog: Watchdog, stopper: Stopper) -> bool:
    """Wait until the reader has made the log: sync may start first."""
    from .adapters.log_file import has_schema

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
