"""A station on an emulated machine: its meter and its cloud on the host, its log asked for through the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from demo.link import Relay
from demo.specs import MeterCount
from tests.integration.databases import StationLog
from tests.integration.world import eventually
from tests.system.emulated.machine import CLOUD_ADDRESS, METER, Board, Emulated, fit
from tests.system.emulated.meter import HostMeter
from tests.system.station import READER, STATE, Cloud, Station


class GuestLog(StationLog):
    """log.db within a machine that shares no files with the host."""

    def __init__(self, machine: Emulated) -> None:
        super().__init__(Path("/") / STATE / "log.db")
        self._machine = machine

    def _query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._machine.query(str(self.path), query, values)


class BootTime(NamedTuple):
    """What the station has noted of a boot's time (decision 12)."""

    offset_ms: int
    source: str
    at_mono_ms: int


class EmulatedStation(Station):
    """What tests do to it and see of it, as of a station in a container."""

    machine: Emulated

    def __init__(self, machine: Emulated, cloud: Cloud, station_id: str, meter_port: str) -> None:
        super().__init__(machine, cloud, station_id)
        self.log = GuestLog(machine)
        self.link = Relay(0, cloud.port, record=100_000)
        """The network between station and cloud, in the test's hand."""
        self._meter_port = meter_port
        self._meter = HostMeter(machine.folder, METER)

    def prepare(self) -> None:
        """The files of a station that is provisioned, its meter, and its way to the cloud. Nothing is run within."""
        self.link.start()
        self.configure(CLOUD_ADDRESS, self.link.port, self._meter_port)
        self._meter.flow("idle", 8.0)

    def flow(self, pattern: str, flow_l_min: float = 8.0) -> None:
        self._meter.flow(pattern, flow_l_min)

    def counted(self) -> MeterCount:
        return self._meter.counted()

    def boot_time(self) -> BootTime | None:
        """What is known of the time of the boot that runs now."""
        sql = "SELECT offset_ms, source, at_mono_ms FROM boot_clock WHERE boot_id = ?"
        found = self.machine.query(str(self.log.path), sql, (self.boot_id(),))
        return BootTime(*found[0]) if found else None

    def boot_id(self) -> str:
        return self.machine.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip()

    def stand_still(self) -> None:
        """The reader ends, and what it said last is delivered: from now on log and books do not move."""
        self.systemctl("stop", READER)
        eventually(lambda: self.log.pending() == 0, "everything delivered")

    def destroy(self) -> None:
        self.machine.destroy()
        self._meter.stop()
        self.link.stop()


@contextlib.contextmanager
def emulated_station(
    board: Board, root: Path, folder: Path, cloud: Cloud, station_id: str, meter_port: str
) -> Iterator[EmulatedStation]:
    """A provisioned station on a machine that is not yet booted. `root`: its files, until then."""
    folder.mkdir(parents=True, exist_ok=True)
    fit(root)
    station = EmulatedStation(Emulated(board, root, folder), cloud, station_id, meter_port)
    try:
        station.prepare()
        yield station
    finally:
        station.destroy()
