"""Many stations at one cloud: for tests that would otherwise start a cloud of their own each.

`House` is the cloud with its books, `Outpost` a station of real processes with its own meter, log and relay. Processes
are started by a launcher: a Nursery (tests/fakes/nursery.py), which is quick, or `Execed` as systemd would.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from aquasmart_station.adapters.live import read_service
from demo.faults import Exchange
from demo.link import Relay
from demo.site import REPOSITORY, Site, program
from demo.specs import MeterCount, MeterSpec, station_toml
from tests.fakes import nursery
from tests.fakes.ports import free_port
from tests.integration.databases import CloudBooks, StationLog
from tests.integration.world import DEADLINE_S, QUICK, STEADY, eventually, merged


class Process(Protocol):
    """A started process, whoever started it."""

    pid: int

    def alive(self) -> bool: ...
    def send(self, number: int) -> None: ...
    def wait(self, timeout_s: float) -> int | None: ...


Launcher = Callable[[list[str], Path], Process]
"""Starts `aquasmart ARGUMENTS`, output appended to a file."""


def forked(arguments: list[str], log: Path) -> Process:
    """By the nursery of this test process."""
    return nursery.shared().start(arguments, log)


class Execed:
    """An `aquasmart` process as systemd would start it, perhaps under another command."""

    def __init__(self, arguments: list[str], log: Path, under: list[str] | None = None) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AQUASMART_", "NOTIFY_"))}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*(under or []), program("aquasmart"), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=REPOSITORY, env=kept,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: int) -> None:
        """To the whole group: what it runs under goes with it."""
        if self.alive():
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


class StationBooks(CloudBooks):
    """What the cloud has of one station."""

    def __init__(self, path: Path, station_id: str) -> None:
        super().__init__(path)
        self._id = (station_id,)

    def marks(self) -> dict[str, int]:
        found = self.query("SELECT stream, mark_seq FROM stream WHERE station_id = ?", self._id)
        return {_dashed(stream): seq for stream, seq in found}

    def events(self) -> int:
        return int(self.query("SELECT coalesce(sum(events), 0) FROM station WHERE station_id = ?", self._id)[0][0])

    def volume_ul(self) -> int:
        return int(self.query("SELECT coalesce(sum(volume_ul), 0) FROM station WHERE station_id = ?", self._id)[0][0])

    def differences(self) -> dict[str, int]:
        found = self.query(
            "SELECT kind, sum(volume_ul) FROM ledger_entry WHERE station_id = ? AND state = 'open' GROUP BY kind",
            self._id,
        )
        return {str(kind): int(volume) for kind, volume in found}


def _dashed(stream: str) -> str:
    return f"{stream[:8]}-{stream[8:12]}-{stream[12:16]}-{stream[16:20]}-{stream[20:]}" if len(stream) == 32 else stream


class House:
    """A cloud that stays up for many stations. `template` is a provisioned site to begin as a copy of."""

    def __init__(self, root: Path, template: Path | None = None, by: nursery.Nursery | None = None) -> None:
        self.site = Site(root, cloud_port=free_port(), launcher=by or nursery.shared())
        if template is not None:
            shutil.copytree(template, root)
        else:
            self.site.provision()
        self.site.start("cloud")
        self._made = 0

    @property
    def port(self) -> int:
        return self.site.cloud_port

    @property
    def database(self) -> Path:
        return self.site.root / "cloud" / "cloud.db"

    @cached_property
    def stations(self) -> Stations:
        """The product's own register of stations, for provisioning and what an operator does to one."""
        master = bytes.fromhex((self.site.root / "cloud" / "master.key").read_text().strip())
        return Stations(Database(f"sqlite:///{self.database}"), master)

    def station(self, root: Path, launcher: Launcher = forked, **settings: Any) -> Outpost:
        """A new station of this cloud, provisioned, nothing of it started."""
        self._made += 1
        made = self.stations.add(f"outpost-{self._made}", "", time.time_ns() // 1_000_000)
        return Outpost(self, root, made.station_id, (made.key_id, made.key), launcher, **settings)

    def sql(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        """What no command does: change the cloud's own tables behind its back."""
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            for statement in statements:
                connection.execute(statement, values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else writes to the database and does not stop."""
        with closing(sqlite3.connect(self.database, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.rollback()

    def close(self) -> None:
        if "stations" in self.__dict__:
            self.stations._database.close()
        self.site.stop("cloud")


class Outpost:
    """One station: processes "meter", "reader", "sync"; its relay; its log and its books, read-only."""

    def __init__(
        self,
        house: House,
        root: Path,
        station_id: str,
        key: tuple[str, str],
        launcher: Launcher,
        *,
        meter: MeterSpec = STEADY,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        url_port: int | None = None,
        record: int = 100_000,
    ) -> None:
        self.house, self.root, self.station_id, self.meter = house, root, station_id, meter
        self.key_id, self.key = key[0], bytes.fromhex(key[1])
        self.launcher = launcher
        self.relay = Relay(0, house.port, record=record)
        self.relay.start()
        for folder in ("station", "run", "meter", "logs"):
            (root / folder).mkdir(parents=True)
        key_file = root / "station.key"
        key_file.touch(mode=0o600)
        key_file.write_text(key[1] + "\n")
        self.overrides = merged(QUICK, overrides or {})
        self.url = f"http://127.0.0.1:{url_port or self.relay.port}"
        self.configure()
        self.log = StationLog(root / "station" / "log.db")
        self.books = StationBooks(house.database, station_id)
        self._processes: dict[str, Process] = {}

    @property
    def config_path(self) -> Path:
        return self.root / "station.toml"

    def configure(self, **changes: Mapping[str, Any]) -> None:
        """Write station.toml, with changes table by table."""
        self.overrides = merged(self.overrides, changes)
        cloud = {"url": self.url, "key_id": self.key_id, "key_file": "station.key"}
        self.config_path.write_text(station_toml(self.station_id, cloud, (self.meter,), self.overrides))

    # Processes

    def start(self, *names: str, launcher: Launcher | None = None) -> None:
        for name in names or ("meter", "reader", "sync"):
            if not self.alive(name):
                log = self.root / "logs" / f"{name}.log"
                self._processes[name] = (launcher or self.launcher)(self._arguments(name), log)
            if name == "meter":
                port = self.root / "run" / self.meter.id
                eventually(port.exists, "the meter's port", every_s=0.005)

    def _arguments(self, name: str) -> list[str]:
        config = ["--config", str(self.config_path)]
        if name != "meter":
            return [*config, name]
        link = self.root / "run" / self.meter.id
        return [*config, "simulate", *self.meter.simulate_arguments(link, self._count_file)]

    def process(self, name: str) -> Process:
        return self._processes[name]

    def alive(self, name: str) -> bool:
        return name in self._processes and self._processes[name].alive()

    def send(self, name: str, number: int) -> None:
        if name in self._processes:
            self._processes[name].send(number)

    def kill(self, name: str) -> None:
        """SIGKILL; returns when it is gone. An unplugged meter takes its port with it."""
        if name == "meter":
            (self.root / "run" / self.meter.id).unlink(missing_ok=True)
        process = self._processes.pop(name, None)
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait(10)

    def stop(self, name: str, timeout_s: float = 10.0) -> int | None:
        """SIGTERM; its exit status. SIGKILL where it does not end in time, and then None."""
        process = self._processes.pop(name, None)
        if process is None:
            return None
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)
        status = process.wait(timeout_s)
        process.send(signal.SIGKILL)
        return status

    def close(self) -> None:
        for process in self._processes.values():
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
        for name in list(self._processes):
            self.stop(name, timeout_s=5)
        self.relay.stop()

    # What is seen

    def state(self) -> str:
        """What sync says of itself; empty while it has said nothing."""
        said = read_service(self.root / "run" / "live.db", "sync_state")
        return said.state if said else ""

    def said(self) -> dict[str, Any]:
        """What a technician is told of sync: state, text and figures."""
        said = read_service(self.root / "run" / "live.db", "sync_state")
        return {} if said is None else {"state": said.state, "text": said.text, **said.figures}

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`aquasmart WORDS`, whatever its exit status."""
        line = [program("aquasmart"), "--config", str(self.config_path), *words]
        return nursery.shared().run(line, os.environ)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.command("status", "--json").stdout))

    def ingests(self) -> list[Exchange]:
        """Every ingest request that has come past the relay, in order."""
        return [exchange for exchange in list(self.relay.exchanges) if exchange.target.startswith("/v1/ingest")]

    def dead_letters(self) -> int:
        """How many rows the station has given up on."""
        with closing(sqlite3.connect(f"file:{self.log.path}?mode=ro", uri=True, timeout=10)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'dead_letter'").fetchone()
            return int(connection.execute("SELECT count(*) FROM dead_letter").fetchone()[0]) if known else 0

    @property
    def _count_file(self) -> Path:
        return self.root / "meter" / self.meter.id

    def counted(self) -> MeterCount:
        """The meter's own count, from the file that the product never reads."""
        return MeterCount(*(int(word) for word in self._count_file.read_text().split()))

    def tails(self, lines: int = 15) -> str:
        """What the processes said last, for a failed test's report."""
        parts = [f"{self.station_id}: sync says {self.said()}"]
        for path in sorted((self.root / "logs").glob("*.log")):
            parts += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(parts)

    # What tests wait for

    def with_flow(self, pattern: str, flow_l_min: float | None = None) -> None:
        """Unplug the meter and plug it in again, its water otherwise; its register goes on."""
        self.kill("meter")
        self.meter = replace(self.meter, pattern=pattern, flow_l_min=flow_l_min or self.meter.flow_l_min)
        self.start("meter")

    def take_baseline(self) -> None:
        """Let the reader see the meter stand still first, so that its baseline is the start counts exactly."""
        flow = self.meter.pattern
        self.with_flow("idle")
        self.start("reader")
        self.log.await_kind("baseline", self.meter.id)
        self.with_flow(flow)

    def await_flow(self, events: int = 5) -> None:
        have = self.log.events()
        eventually(lambda: self.log.events() >= have + events, f"{events} more events in the log")

    def await_delivered(self, timeout_s: float = DEADLINE_S) -> None:
        eventually(lambda: self.log.pending() == 0, "everything in the log acknowledged", timeout_s, every_s=0.02)

    def volume_ul(self) -> int:
        """What the meter has passed since its first start, by fractions and from its own file."""
        price = Fraction(1_000_000) / Fraction(self.meter.k_factor)
        return int(self.counted().lifetime * price) - int(self.meter.start_counts * price)

    def assert_balance(self) -> None:
        """Meter = log = acknowledged = cloud, exactly. The reader has been stopped, everything delivered."""
        rows = [row for row in self.log.rows() if row.meter_id is not None]
        price = Fraction(1_000_000) / Fraction(self.meter.k_factor)
        log_ul = int(rows[-1].counts * price) - int(rows[0].counts * price)
        assert rows[0].kind == "baseline"
        assert (log_ul, self.books.volume_ul()) == (self.volume_ul(),) * 2
        assert self.books.events() == self.log.events()
        assert self.books.marks() == self.log.last_seqs() == self.log.acknowledged()
        assert self.books.differences() == {}
        assert self.dead_letters() == 0

    def settle(self) -> None:
        """Stop the reader, which commits what the meter last told it; wait until the cloud has it all; compare."""
        status = self.stop("reader")
        assert status == 0, f"the reader ended with {status}\n{self.tails()}"
        self.relay.policy = None
        self.relay.set_state("pass")
        self.start("sync")
        self.await_delivered()
        self.assert_balance()
