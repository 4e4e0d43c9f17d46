"""A station installed from its package on a machine, its simulated meter on that machine, its cloud on the host.

The meter's own count stands in a file that the product never reads; `settle` compares it with log and cloud, exactly.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from demo.site import Site
from demo.specs import MeterCount
from tests.fakes.ports import free_port
from tests.integration.databases import StationLog
from tests.integration.outpost import StationBooks
from tests.integration.world import eventually
from tests.system.machines import Cable, Machine

START = 1_000_000
K_FACTOR = 450
STATE = "var/lib/aquasmart"
READER, SYNC, CHECK = "aquasmart-reader.service", "aquasmart-sync.service", "aquasmart-check.service"

_METER_UNIT = """\
[Unit]
Description=A simulated meter (tests only)
StartLimitIntervalSec=0
[Service]
# As the station's user, so that the pseudo-terminal is one that it may open, as a group does for real ports.
User=aquasmart
EnvironmentFile=/etc/meter.env
ExecStart=/usr/bin/aquasmart simulate --link /run/meter/tap-1 --count-file /var/meter/tap-1.count \\
  --start-counts 1000000 --pattern ${PATTERN} --flow-l-min ${FLOW}
Restart=always
RestartSec=100ms
RuntimeDirectory=meter
[Install]
WantedBy=multi-user.target
"""
_PTY = "[Service]\n# A simulated port is a pseudo-terminal.\nDeviceAllow=char-pts rw\n"
TAP = """\
[[meters]]
id = "tap-1"
driver = "pulse"
port = "{meter_port}"
k_factor = 450
nonvolatile = true
"""
"""Of a configuration: the simulated meter, at a `meter_port`."""
_CONFIG = """\
station_id = "{station}"
[cloud]
url = "http://{address}:{port}"
key_id = "{key_id}"
key_file = "station.key"
connect_timeout_s = 2
read_timeout_s = 4
[reader]
commit_interval_s = 0.2
[sync]
linger_s = 0.2
heartbeat_s = 2
"""


class AnyCloud(Protocol):
    """What a station needs of its cloud, and a test of the books, wherever the cloud runs."""

    @property
    def port(self) -> int: ...

    def add(self, station_id: str) -> tuple[str, str]:
        """A new station; its key id and key."""
        ...

    def books(self, station_id: str) -> StationBooks:
        """What the cloud has of one station, read past the product."""
        ...


class Cloud:
    """The real cloud on the host, reachable from every machine's network."""

    def __init__(self, root: Path) -> None:
        port = free_port()
        self.site = Site(root, cloud_port=port, cloud_settings={"AQUASMART_BIND": f"0.0.0.0:{port}"})
        self.site.provision()
        self.site.start("cloud")
        master = bytes.fromhex((root / "cloud" / "master.key").read_text().strip())
        self.database = root / "cloud" / "cloud.db"
        self._stations = Stations(Database(f"sqlite:///{self.database}"), master)

    @property
    def port(self) -> int:
        return self.site.cloud_port

    def books(self, station_id: str) -> StationBooks:
        return StationBooks(self.database, station_id)

    def add(self, station_id: str) -> tuple[str, str]:
        made = self._stations.add(station_id, "", time.time_ns() // 1_000_000)
        return made.key_id, made.key

    def close(self) -> None:
        self._stations._database.close()
        self.site.stop("cloud")


class Station:
    """What tests do to a station and see of it. `machine` need not run yet."""

    def __init__(self, machine: Machine, cloud: AnyCloud, station_id: str) -> None:
        self.machine, self.cloud, self.id = machine, cloud, station_id
        self.log = StationLog(machine.root / STATE / "log.db")
        self.books = cloud.books(station_id)
        self.cable: Cable | None = None
        """Its network, where it has one to be cut."""

    # Before the first boot

    def provision(self, address: str) -> None:
        """Configuration, key and meter, as files of the machine. `address`: where the cloud is."""
        root = self.machine.root
        self.configure(address, self.cloud.port, "/run/meter/tap-1")
        (root / "etc/systemd/system/meter.service").write_text(_METER_UNIT)
        (root / "var/meter").mkdir()
        self.shell("chown aquasmart /var/meter; systemctl enable -q meter.service")
        drop_in = root / "etc/systemd/system/aquasmart-reader.service.d"
        drop_in.mkdir()
        (drop_in / "simulated.conf").write_text(_PTY)
        self.set_flow("idle")

    def configure(self, address: str, port: int, meter_port: str) -> None:
        """A station that the cloud knows: configuration and key. `address`, `port`: where the cloud is."""
        folder = self.machine.root / "etc/aquasmart"
        folder.mkdir(exist_ok=True)
        key_id, key = self.cloud.add(self.id)
        words = {"station": self.id, "address": address, "port": port, "key_id": key_id, "meter_port": meter_port}
        (folder / "station.toml").write_text((_CONFIG + TAP).format(**words))
        secret = folder / "station.key"
        secret.touch(mode=0o600)
        secret.write_text(key + "\n")

    def shell(self, script: str) -> None:
        """A script in the machine's files while it does not run."""
        root = str(self.machine.root)
        done = subprocess.run(["chroot", root, "sh", "-ec", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def set_flow(self, pattern: str, flow_l_min: float = 8.0) -> None:
        (self.machine.root / "etc/meter.env").write_text(f"PATTERN={pattern}\nFLOW={flow_l_min}\n")

    # Services

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.machine.run("systemctl", *words, check=check).stdout.strip()

    def shown(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", unit, "--property", name, "--value")

    def status_text(self, unit: str) -> str:
        return self.shown(unit, "StatusText")

    def pid(self, unit: str) -> int:
        """The main process's id within the machine; 0 where there is none."""
        return int(self.shown(unit, "MainPID"))

    def kill(self, unit: str, signal: str = "KILL") -> None:
        self.systemctl("kill", "--signal", signal, "--kill-whom=main", unit)

    def up(self, unit: str) -> bool:
        return self.shown(unit, "ActiveState") == "active"

    def await_up(self, *units: str, timeout_s: float = 30.0) -> None:
        eventually(lambda: all(self.up(unit) for unit in units), f"{units} up", timeout_s, 0.1)

    def await_restart(self, unit: str, former_pid: int, timeout_s: float = 30.0) -> None:
        """Up again, as another process."""
        eventually(
            lambda: self.up(unit) and self.pid(unit) not in {0, former_pid}, f"{unit} restarted", timeout_s, 0.05
        )

    def journal(self, *words: str) -> str:
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", *words, check=False).stdout

    def command(self, *words: str) -> Any:
        """`aquasmart … --json`, within."""
        return json.loads(self.machine.run("aquasmart", *words, "--json").stdout)

    # Water

    def begin(self, flow_l_min: float = 8.0) -> None:
        """The baseline is the meter's start count exactly: it stands still first. Then water flows."""
        self.log.await_kind("baseline", "tap-1")
        self.flow("steady", flow_l_min)
        self.await_events()

    def flow(self, pattern: str, flow_l_min: float = 8.0) -> None:
        """Unplug the meter and plug it in again, its water otherwise; its register goes on."""
        self.set_flow(pattern, flow_l_min)
        self.systemctl("restart", "meter.service")

    def shut(self) -> None:
        """Water off, and the reader has seen it: the meter answers again, and nothing flows."""
        self.flow("idle")

        def still() -> bool:
            meter = self.command("status")["meters"][0]
            return self._logged_all() and meter["state"] == "ok" and meter["flow_ul_s"] == 0

        eventually(still, "the tap is shut")

    def await_events(self, count: int = 5, timeout_s: float = 60.0) -> None:
        have = self.log.events()
        eventually(lambda: self.log.events() >= have + count, f"{count} more events in the log", timeout_s)

    def await_counting(self, counts: int = 50, timeout_s: float = 60.0) -> None:
        """As the reader itself says: for a disk on which nobody else can open the log."""

        def shown() -> int:
            text = self.status_text(READER)
            found = re.search(r"\((\d+) counts\)", text)
            return int(found[1]) if found and "LOG FAULT" not in text else 0

        first = eventually(shown, "the reader counts", timeout_s)
        eventually(lambda: shown() >= first + counts, f"{counts} more counts", timeout_s)

    def counted(self) -> MeterCount:
        return MeterCount(*map(int, (self.machine.root / "var/meter/tap-1.count").read_text().split()))

    def meter_ul(self) -> int:
        """What the meter has passed, by fractions and from its own file."""
        price = Fraction(1_000_000, K_FACTOR)
        return int(self.counted().lifetime * price) - int(START * price)

    def settle(self, *, named: bool = False, timeout_s: float = 90.0) -> int:
        """Water off, everything delivered; meter = log = cloud, to the microlitre. Returns that volume.

        `named`: rows of the log itself are gone (a damaged file), so meter and cloud are compared, and no marks.
        """
        self.flow("idle")
        eventually(self._logged_all, "the meter's last count in the log", timeout_s, 0.1)
        eventually(lambda: self.log.pending() == 0, "everything delivered", timeout_s, 0.1)
        meter_ul = self.meter_ul()
        status = self.command("status")
        assert meter_ul > 0
        assert meter_ul - self.books.volume_ul() == 0, "lost between meter and cloud"
        # What the cloud had of the rows that are gone comes again as catch-up: booked once, and named.
        found = self.books.differences()
        assert found.keys() <= ({"overlap"} if named else set()), found
        if not named:
            assert meter_ul - status["log_ul"] == 0, "lost between meter and log"
            # Rows of the station's own (a reason that is over) may still be on their way.
            eventually(self._marks_agree, "marks agree", timeout_s)
        return meter_ul

    def _marks_agree(self) -> bool:
        """Of every stream that still has events: a full disk has made the station forget acknowledged ones."""
        there, here = self.books.marks(), self.log.acknowledged()
        return all(there.get(stream) == here.get(stream) == seq for stream, seq in self.log.last_seqs().items())

    def _logged_all(self) -> bool:
        rows = [row for row in self.log.rows() if row.meter_id == "tap-1"]
        return bool(rows) and rows[-1].counts == self.counted().lifetime

    def tails(self, lines: int = 40) -> str:
        """What everybody said last, for a failing test."""
        said = self.journal("-n", str(lines), "-u", "aquasmart-*", "-u", "meter")
        return f"reader: {self.status_text(READER)}\nsync: {self.status_text(SYNC)}\n{said}"
