"""One site on one machine: the real processes of a station and a cloud, and where their files live.

The only place that knows how the processes are started; `make run` and the end-to-end tests both use it. It
starts the same commands that systemd starts on a station and a server: nothing here counts, stores or sends.

Under `root`: station.toml, station.key, station/ (the log), run/ (live state, the meters' ports, the relay's
`link` switch), cloud/ (secrets and database), meter/ (the simulated meters' own count files), logs/, pids/.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from demo.groups import Group, Launcher
from demo.specs import MeterCount, MeterSpec, station_toml

__all__ = ["MeterCount", "MeterSpec", "Site", "SiteError", "program"]

READY_TIMEOUT_S = 30.0
REPOSITORY = Path(__file__).resolve().parent.parent


class SiteError(Exception):
    """A process of the site could not be started, or a command failed. The message holds its last words."""


class Site:
    """The processes "cloud", "meter:<id>", "reader" and "sync", with `worker` also the cloud's "worker".

    The constructor stores its arguments only.

    `station_url_port` is the port the station calls: the relay's (demo/link.py), or the cloud's when None.
    `overrides` are tables of station.toml to change, for example `{"sync": {"linger_s": 0.1}}`. `wrappers` holds
    commands to start a process under, by its name, for example `["nice", "-n", "5"]`. `cloud_settings` are
    more of the cloud's environment, for example its `AQUASMART_DATABASE_URL`. `launcher` starts what it knows instead
    of a plain `exec`, where no wrapper is in the way.
    """

    def __init__(
        self,
        root: Path,
        *,
        cloud_port: int,
        station_url_port: int | None = None,
        meters: Sequence[MeterSpec] = (MeterSpec(),),
        station_id: str = "demo-1",
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        cloud_settings: Mapping[str, str] | None = None,
        launcher: Launcher | None = None,
        worker: bool = False,
    ) -> None:
        self.root, self._launcher = root.resolve(), launcher
        self.worker = worker
        self.cloud_port = cloud_port
        self.station_url_port = station_url_port or cloud_port
        self.meters = tuple(meters)
        self.station_id = station_id
        self.overrides = dict(overrides or {})
        self.cloud_settings = dict(cloud_settings or {})
        self.wrappers: dict[str, list[str]] = {}
        self._groups: dict[str, Group] = {}

    @property
    def config_path(self) -> Path:
        return self.root / "station.toml"

    @property
    def url(self) -> str:
        """The cloud's own address, for people."""
        return f"http://127.0.0.1:{self.cloud_port}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every process, in the order in which they are started."""
        cloud = ("cloud", "worker") if self.worker else ("cloud",)
        return (*cloud, *(f"meter:{meter.id}" for meter in self.meters), "reader", "sync")

    # Provisioning

    def provision(self) -> None:
        """Make what is missing: secrets, schema, the station's key and configuration. Keeps what exists.

        Only the cloud's address in an existing station.toml is renewed, since the ports may have changed.
        """
        for folder in ("station", "run", "cloud", "meter", "logs", "pids"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        if not all((self.root / "cloud" / name).exists() for name in ("master.key", "admin.token")):
            self.cloud("init", str(self.root / "cloud"))
        self.cloud("db", "upgrade")
        key_file = self.root / "station.key"
        if not (self.config_path.exists() and key_file.exists()):
            key_id = self._obtain_key(key_file)
            cloud = {"url": self._station_url(), "key_id": key_id, "key_file": "station.key"}
            text = station_toml(self.station_id, cloud, self.meters, self.overrides)
            _replace(self.config_path, text, mode=0o644)
        text = self.config_path.read_text()
        renewed = re.sub(r'(?m)^url = ".*"$', f'url = "{self._station_url()}"', text, count=1)
        if renewed != text:
            _replace(self.config_path, renewed, mode=0o644)

    def _station_url(self) -> str:
        return f"http://127.0.0.1:{self.station_url_port}"

    def _obtain_key(self, key_file: Path) -> str:
        """A key from the cloud: the station's first, or one more where an earlier start was cut short."""
        known = json.loads(self.cloud("station", "list", "--json"))
        rows = known["stations"] if isinstance(known, dict) else known
        verb = "rotate-key" if any(row["station_id"] == self.station_id for row in rows) else "add"
        made = json.loads(self.cloud("station", verb, self.station_id, "--json"))
        _replace(key_file, made["key"] + "\n", mode=0o600)
        return str(made["key_id"])

    # Processes

    def start(self, name: str) -> None:
        """Start one process; wait until the cloud answers, or until the meter's port is there.

        The reader and the sync service are only started: what they do is seen in their databases.
        """
        if self.alive(name):
            return
        group = Group(name, self.root / "pids", self.root / "logs", self._launcher)
        group.end_leftover()
        self._groups[name] = group
        self._unplug(name)
        group.start(
            [*self.wrappers.get(name, []), *self._command(name)], cwd=REPOSITORY, environment=self._environment()
        )
        if name == "cloud":
            self._await(name, self._cloud_ready)
        elif name.startswith("meter:"):
            self._await(name, self.port_path(name.partition(":")[2]).exists)

    def stop(self, name: str, timeout_s: float = 10.0) -> int | None:
        """SIGTERM; SIGKILL for what is left after `timeout_s`. Gives the exit status, None if not running."""
        group = self._groups.pop(name, None)
        return group.stop(timeout_s) if group else None

    def kill(self, name: str) -> None:
        """SIGKILL for the whole process group, at once."""
        group = self._groups.pop(name, None)
        if group:
            self._unplug(name)
            group.kill()

    def _unplug(self, name: str) -> None:
        # A dead pseudo-terminal's number goes to the next one that anybody opens: a port left behind would lead
        # the reader to a stranger's meter. A real adapter's port goes with the adapter, too.
        if name.startswith("meter:"):
            self.port_path(name.partition(":")[2]).unlink(missing_ok=True)

    def alive(self, name: str) -> bool:
        group = self._groups.get(name)
        return group is not None and group.alive()

    def pid(self, name: str) -> int:
        """The process id of a running process."""
        return self._groups[name].pid

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def stop_all(self) -> None:
        """Stop everything that runs, the station first so that its last words reach the cloud."""
        for name in ("reader", "sync", *self.names):
            self.stop(name)

    def log_tail(self, name: str, lines: int = 30) -> str:
        """The last lines a process wrote, for error messages and the terminal view."""
        path = self.root / "logs" / f"{name.replace(':', '-')}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _command(self, name: str) -> list[str]:
        if name == "cloud":
            conf = str(REPOSITORY / "deploy" / "gunicorn.conf.py")
            return [program("gunicorn"), "-c", conf, "aquasmart_cloud:create_app()"]
        if name == "worker":
            return [program("aquasmart-cloud"), "worker"]
        station = [program("aquasmart"), "--config", str(self.config_path)]
        if not name.startswith("meter:"):
            return [*station, name]
        meter = next(meter for meter in self.meters if f"meter:{meter.id}" == name)
        return [
            *station,
            "simulate",
            *meter.simulate_arguments(self.port_path(meter.id), self._count_file(meter.id)),
        ]

    def _environment(self) -> dict[str, str]:
        """This process's environment, with our own settings and no one else's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AQUASMART_", "NOTIFY_"))}
        kept["AQUASMART_MASTER_KEY_FILE"] = str(self.root / "cloud" / "master.key")
        kept["AQUASMART_BIND"] = f"127.0.0.1:{self.cloud_port}"
        return kept | self.cloud_settings

    def _cloud_ready(self) -> bool:
        line = HTTPConnection("127.0.0.1", self.cloud_port, timeout=2)
        try:
            line.request("GET", "/readyz")
            return line.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            line.close()

    def _await(self, name: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            if not self.alive(name) or time.monotonic() > deadline:
                self.kill(name)
                raise SiteError(f"{name} did not start; its last words:\n{self.log_tail(name)}")
            time.sleep(0.05)

    # Commands and figures

    def station(self, *words: str) -> str:
        """Output of `aquasmart --config station.toml …`."""
        return self._run([program("aquasmart"), "--config", str(self.config_path), *words])

    def cloud(self, *words: str) -> str:
        """Output of `aquasmart-cloud …`."""
        return self._run([program("aquasmart-cloud"), *words])

    def _run(self, command: list[str]) -> str:
        environment = self._environment()
        if self._launcher is not None and self._launcher.knows(command):
            done = self._launcher.run(command, environment)
        else:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPOSITORY)
        if done.returncode:
            raise SiteError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """`aquasmart status --json`."""
        return dict(json.loads(self.station("status", "--json")))

    def totals(self) -> dict[str, Any]:
        """`aquasmart-cloud totals --json`."""
        return dict(json.loads(self.cloud("totals", "--json")))

    def meter_counts(self, meter_id: str = "tap-1") -> MeterCount:
        """What the simulated meter itself has counted."""
        return MeterCount(*(int(word) for word in self._count_file(meter_id).read_text().split()))

    def port_path(self, meter_id: str) -> Path:
        return self.root / "run" / meter_id

    def _count_file(self, meter_id: str) -> Path:
        return self.root / "meter" / f"{meter_id}.count"


def program(name: str) -> str:
    """The command of this environment, wherever the caller was started from."""
    return str(Path(sys.executable).parent / name)


def _replace(path: Path, text: str, *, mode: int) -> None:
    """Write whole or not at all, never readable by more than `mode` says, not even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    fresh.replace(path)
