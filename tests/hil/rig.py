"""The bench: one station with one meter, its reader as a real process, and the means to read what the log holds.

With `--port sim` the meter is a simulated one behind a line in the bench's hand, and its own count file says how much
it has counted. With a real port the register is read by a second program (`mbpoll`) or by a person from the display.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.site import REPOSITORY, program
from demo.specs import MeterSpec, station_toml
from tests.hil.line import Line

DEADLINE_S = 60.0
BASELINE = 6
PULSE_MODULUS, PULSE_START = 1 << 16, 64_000
"""The simulated bridge has a narrow counter that begins near its end: it rolls over somewhere in the suite."""
IDENTITY, OTHER_IDENTITY = "12345678", "87654321"


class Missing(Exception):
    """Something that a check needs is not here: it is NOT RUN, and the text says why."""


class Failed(Exception):
    """A check's verdict."""


@dataclass(frozen=True)
class Setup:
    """What is to be tested, and with what."""

    port: str
    meter: str
    profile: str | None
    k_factor: str
    folder: Path
    operator: str
    mutant: str | None = None
    minutes: float = 10.0
    repeats: int = 10
    meter_class: float = 2.0

    @property
    def simulated(self) -> bool:
        return self.port == "sim"


@dataclass
class Rig:
    """Constructed with its setup; `open` starts the meter and the line."""

    setup: Setup
    spec: MeterSpec = field(init=False)
    line: Line | None = None
    zero: int = 0
    """The register, lifetime, when the log began."""
    _meter: subprocess.Popen[bytes] | None = None
    _reader: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        modbus = self.setup.meter == "modbus"
        self.spec = MeterSpec(
            driver=self.setup.meter,
            k_factor=self.setup.k_factor,
            pattern="idle",
            flow_l_min=12.0,
            identity=IDENTITY if modbus else None,
            start_counts=1_000_000 if modbus else PULSE_START,
            modulus=PULSE_MODULUS if self.setup.simulated and not modbus else None,
            profile=self.setup.profile or ("tuf2000" if modbus else None),
        )
        self._extra: dict[str, Any] = {}

    # The meter

    def open(self) -> None:
        for name in ("station", "run", "meter"):
            (self.setup.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.setup.folder / "station.key"
        key.touch(mode=0o600)
        key.write_text("0" * 64 + "\n")
        self.configure()
        if self.setup.simulated:
            self.start_meter()
            self.line = Line(self.setup.folder / "run" / "tap-1", self._meter_port)
            self.line.start()
        elif not Path(self.setup.port).exists():
            raise Missing(f"{self.setup.port} is not there")

    def find(self) -> dict[str, Any]:
        """What a probe says of the meter. Raises Missing where nothing answers."""
        found = dict(self.command("meter", "probe", "tap-1")["meters"][0])
        if not found["answered"]:
            raise Missing(f"nothing answers on {self.setup.port}: {'; '.join(found['problems'])}")
        return found

    def begin(self) -> None:
        """Start the reader at a meter that stands still: from its baseline on, everything must be logged."""
        if not self.setup.simulated:
            with contextlib.suppress(Missing):
                self.zero = self.register()
        self.start_reader()
        self.eventually(lambda: BASELINE in self.kinds(), "a baseline")
        if self.setup.simulated:
            self.zero = self.lifetime()

    def configure(self, **meter: Any) -> None:
        """station.toml, with more settings for the meter."""
        self._extra |= meter
        table: dict[str, Any] = dict(self._extra)
        if not self.setup.simulated:
            table["port"] = self.setup.port
        spec = MeterSpec(**{**vars(self.spec), "settings": {**self.spec.settings, **table}})
        cloud = {"url": "http://127.0.0.1:9", "key_id": "k1", "key_file": "station.key"}
        quick: Mapping[str, Mapping[str, Any]] = {"reader": {"commit_interval_s": 0.2}}
        self.config.write_text(station_toml("bench", cloud, (spec,), quick))

    @property
    def config(self) -> Path:
        return self.setup.folder / "station.toml"

    @property
    def _meter_port(self) -> Path:
        return self.setup.folder / "meter" / "port"

    def start_meter(self, **changes: Any) -> None:
        """A simulated meter, powered up (again), perhaps as another one."""
        self.simulated()
        self.stop_meter()
        self.spec = MeterSpec(**{**vars(self.spec), **changes})
        words = self.spec.simulate_arguments(self._meter_port, self._count_file)
        self._meter = subprocess.Popen([program("aquasmart"), "simulate", *words], stdout=subprocess.DEVNULL)
        self.eventually(self._meter_port.exists, "the simulated meter's port")

    def stop_meter(self) -> None:
        if self._meter is not None:
            self._meter.terminate()
            self._meter.wait(10)
            self._meter = None
            self._meter_port.unlink(missing_ok=True)

    def flow(self, *, on: bool) -> None:
        """Open or shut the tap of the simulation."""
        self.start_meter(pattern="steady" if on else "idle")

    def simulated(self, why: str = "a person at the meter") -> None:
        """Raises Missing with a real meter: nobody here can do that to it."""
        if not self.setup.simulated:
            raise Missing(f"needs {why}")

    def needs_water(self) -> None:
        """Raises Missing in the simulation: it has no water, and what it says of water proves nothing."""
        if self.setup.simulated:
            raise Missing("needs water: never passed by a simulation")

    @property
    def _count_file(self) -> Path:
        return self.setup.folder / "meter" / "count"

    def register(self) -> int:
        """Every count the meter has made, read beside the product: its own count file, or a second program."""
        if self.setup.simulated:
            return int(self._count_file.read_text().split()[0])
        return independent_register(self.setup)

    def lifetime(self) -> int:
        """The same, without what a jump of the register or its modulus made of it."""
        return int(self._count_file.read_text().split()[1]) if self.setup.simulated else self.register()

    # The reader

    def start_reader(self, under: list[str] | None = None) -> None:
        command = [program("aquasmart")]
        if self.setup.mutant:
            command = [sys.executable, "-m", "tests.hil.mutants", self.setup.mutant]
        log = (self.setup.folder / "reader.log").open("ab")
        self._reader = subprocess.Popen(
            [*(under or []), *command, "--config", str(self.config), "reader"],
            stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True,
        )  # fmt: skip

    def kill_reader(self, number: int = signal.SIGKILL) -> None:
        if self._reader is not None:
            os.killpg(self._reader.pid, number)
            self._reader.wait(20)
            self._reader = None

    def command(self, *words: str) -> dict[str, Any]:
        """A command's JSON document."""
        done = subprocess.run(
            [program("aquasmart"), "--config", str(self.config), *words, "--json"], capture_output=True, text=True
        )
        if not done.stdout.strip():
            raise Failed(f"aquasmart {' '.join(words)}: {done.stderr.strip()[:200]}")
        return dict(json.loads(done.stdout))

    def state(self) -> dict[str, Any]:
        return dict(self.command("meter", "list")["meters"][0])

    def figures(self) -> dict[str, Any]:
        return dict(self.command("status")["meters"][0]["figures"])

    def await_state(self, state: str) -> None:
        self.eventually(lambda: self.state()["state"] == state, f"the meter is {state}", every_s=0.3)

    # The log

    def query(self, text: str) -> list[tuple[Any, ...]]:
        path = self.setup.folder / "station" / "log.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                return connection.execute(text).fetchall()
            except sqlite3.OperationalError:
                return []

    def logged(self) -> int:
        """Counts that the log holds: each stream from its opening to its last row."""
        found = self.query(
            "SELECT sum(last - opening) FROM (SELECT max(e.counts) last, json_extract(s.header, '$.opening_counts')"
            " opening FROM stream s JOIN event e USING (stream) WHERE s.meter_id IS NOT NULL GROUP BY s.stream)"
        )
        return int(found[0][0] or 0) if found else 0

    def kinds(self) -> list[int]:
        return [row[0] for row in self.query("SELECT kind FROM event ORDER BY position")]

    def settle(self) -> int:
        """Wait until the log holds as much as it will of a register that stands still; how much that is."""
        then, same_s = self.logged(), time.monotonic()
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() - same_s < 2.0 and time.monotonic() < deadline:
            time.sleep(0.2)
            now = self.logged()
            then, same_s = now, same_s if now == then else time.monotonic()
        return then

    def eventually(self, condition: Callable[[], Any], what: str, every_s: float = 0.1) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"waited {DEADLINE_S:g} s in vain: {what}")
            time.sleep(every_s)

    def close(self) -> None:
        self.kill_reader()
        if self.line is not None:
            self.line.close()
        self.stop_meter()


def independent_register(setup: Setup) -> int:
    """The register by `mbpoll`, none of our code between: TUF-2000's LONG and fraction at wire addresses 8 to 11."""
    if setup.meter != "modbus" or (setup.profile or "tuf2000") != "tuf2000":
        raise Missing("needs a second program that reads this meter's register; there is one for tuf2000 (mbpoll)")
    long, fraction = (_mbpoll(setup.port, address, kind) for address, kind in ((9, "4:int"), (11, "4:float")))
    return int(long) * 1_000_000 + round(float(fraction) * 1_000_000)


def _mbpoll(port: str, address: int, kind: str) -> str:
    words = [
        "mbpoll",
        "-m",
        "rtu",
        "-a",
        "1",
        "-b",
        "9600",
        "-P",
        "none",
        "-t",
        kind,
        "-r",
        str(address),
        "-1",
        "-q",
        port,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    for line in done.stdout.splitlines():
        if line.startswith("["):
            return line.partition(":")[2].split()[0]
    raise Missing(f"mbpoll could not read the register: {(done.stdout + done.stderr).strip()[-200:]}")
