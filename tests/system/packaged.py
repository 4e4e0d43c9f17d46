"""What tests do with packages on a booted Debian, and the cloud as its package installs it, on such a machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.outpost import StationBooks
from tests.system.machines import Machine
from tests.system.rootfs import debian
from tests.system.station import AnyCloud, Station

MakeStation = Callable[..., Station]
CLOUD, WORKER = "aquasmart-cloud.service", "aquasmart-cloud-worker.service"
UNITS = "usr/lib/systemd/system"
PORT = 8000
"""Where the cloud listens as installed."""
_READY = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/readyz').status)"


def bare(make_station: MakeStation, root: Path | None = None, cloud: AnyCloud | None = None) -> Station:
    """A booted Debian without the package."""
    station = make_station(root or debian(), provisioned=False, **({"cloud": cloud} if cloud else {}))
    station.machine.boot()
    return station


def bring(station: Station, deb: Path) -> str:
    shutil.copy(deb, station.machine.root / "var/tmp/the.deb")
    return "/var/tmp/the.deb"


def dpkg(station: Station, *words: str) -> str:
    """dpkg, as a person types it; everything it says."""
    done = station.machine.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *words)
    return done.stdout + done.stderr


def apt_install(station: Station, deb: Path) -> subprocess.CompletedProcess[str]:
    """`apt install ./the.deb`: judges dependencies before it unpacks anything, as an operator meets it."""
    words = ("apt-get", "install", "--yes", "--no-install-recommends", bring(station, deb))
    return station.machine.run("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", *words, check=False)


def ready(station: Station) -> bool:
    """Whether the cloud on this machine says that it can work."""
    return station.machine.run("python3", "-c", _READY, check=False).stdout.strip() == "200"


def unit_complaints(station: Station, pattern: str) -> str:
    """What this machine's systemd has to say about installed units; empty where it has nothing to."""
    units = sorted(path.name for path in (station.machine.root / UNITS).glob(pattern))
    assert units
    said = station.machine.run("systemd-analyze", "verify", *(f"/{UNITS}/{name}" for name in units), check=False)
    return said.stdout + said.stderr


def relabel(deb: Path, target: Path, scratch: Path) -> None:
    """The same package under a later version, without fetching everything again."""
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(scratch)], check=True)
    control = scratch / "DEBIAN/control"
    control.write_text(control.read_text().replace("Version: ", "Version: 99."))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(scratch), str(target)],
        check=True, capture_output=True, env=os.environ,
    )  # fmt: skip


class PackagedCloud:
    """A cloud from its package, on SQLite as it comes. `machine` is known once there is one. Everything that is done
    to it is an operator's command."""

    port = PORT

    def __init__(self) -> None:
        self.machine: Machine | None = None

    def run(self, *command: str) -> str:
        assert self.machine is not None
        return self.machine.run(*command).stdout

    def command(self, *words: str) -> Any:
        """`aquasmart-cloud … --json`, typed by root."""
        return json.loads(self.run("aquasmart-cloud", *words, "--json"))

    def add(self, station_id: str) -> tuple[str, str]:
        made = self.command("station", "add", station_id)
        return made["key_id"], made["key"]

    def books(self, station_id: str) -> StationBooks:
        return _SqliteBooks(self, station_id)


class CloudOnPostgresql(PackagedCloud):
    """The same once it has been told to use the machine's PostgreSQL."""

    def books(self, station_id: str) -> StationBooks:
        return _PostgresqlBooks(self, station_id)


class _SqliteBooks(StationBooks):
    def __init__(self, cloud: PackagedCloud, station_id: str) -> None:
        super().__init__(Path("/"), station_id)
        self._cloud = cloud

    def query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        assert self._cloud.machine is not None
        self.path = self._cloud.machine.root / "var/lib/aquasmart-cloud/cloud.db"
        return super().query(query, values)


class _PostgresqlBooks(StationBooks):
    """By psql, as PostgreSQL's own administrator: neither the product's code nor its user."""

    def __init__(self, cloud: PackagedCloud, station_id: str) -> None:
        super().__init__(Path("/"), station_id)
        self._cloud = cloud

    def query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        for value in values:
            query = query.replace("?", "'" + str(value).replace("'", "''") + "'", 1)
        words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-d", "aquasmart", "-c", query)
        lines = self._cloud.run("runuser", "-u", "postgres", "--", *words).splitlines()
        return [tuple(line.split("\t")) for line in lines]

    def marks(self) -> dict[str, int]:
        return {stream: int(seq) for stream, seq in super().marks().items()}
