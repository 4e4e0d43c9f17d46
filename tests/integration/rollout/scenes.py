"""Roll-outs to real stations: a cloud, its bundles, and update agents that are the real process.

Where RAUC itself would be asked, a program of the tests answers (tests/fakes/rauc_program.py), found by PATH like the
real one; so does `systemctl`, which here only writes down that it was asked to restart the board. A boot cannot be made
here: what a new boot would find is written as the image and RAUC leave it (`boot`). Real boots are in tests/update.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aquasmart_station.adapters.live import read_meters
from demo.faults import Exchange, Fault
from demo.site import REPOSITORY, program
from demo.specs import MeterSpec
from tests.fakes import nursery
from tests.fakes.rauc_bundle import MadeBundle, make_bundle
from tests.integration.outpost import House, Launcher, Outpost, Process
from tests.integration.world import eventually

AGENT = "update-agent"
IDLE = MeterSpec(pattern="idle")
OLD = {"version": "1.4.0", "number": 12, "compatible": "aquasmart-test"}
UPDATE = {"folder": "update", "image_file": "image.json", "ask_s": 1, "quiet_s": 1}


def window(shift_h: float = 0.0, half_h: float = 2.0) -> str:
    """A maintenance window in UTC: around this moment, or around one so many hours from it."""
    middle = datetime.now(UTC) + timedelta(hours=shift_h)
    begin, end = middle - timedelta(hours=half_h), middle + timedelta(hours=half_h)
    return f"{begin:%H:%M}-{end:%H:%M}"


class Fleet:
    """What an operator does, by the real command."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder

    def cloud(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.house.site.cloud(*words, "--json")))

    def add(self, bundle: MadeBundle) -> MadeBundle:
        words = ("--version", bundle.version, "--number", str(bundle.number), "--compatible", bundle.compatible)
        assert self.cloud("bundle", "add", str(bundle.path), *words)["sha256"] == bundle.sha256
        return bundle

    def bundle(self, version: str = "1.5.0", number: int = 13, **how: Any) -> MadeBundle:
        """One made and added."""
        name = f"{version}-{number}-{how.get('seed', 1)}.raucb"
        return self.add(make_bundle(self.folder / name, version, number, **how))

    def start(self, bundle: MadeBundle, group: str, *words: str, at: str | None = None) -> int:
        """A roll-out to a group, in a window that is open now unless `at` says otherwise."""
        found = self.cloud("rollout", "start", bundle.sha256, "--group", group, "--window", at or window(), *words)
        return int(found["rollout_id"])

    def show(self, rollout_id: int) -> dict[str, Any]:
        return self.cloud("rollout", "show", str(rollout_id))

    def states(self, rollout_id: int) -> dict[str, str]:
        """Each station's last result, as the database has it."""
        with closing(sqlite3.connect(f"file:{self.house.database}?mode=ro", uri=True, timeout=10)) as connection:
            query = "SELECT station_id, state FROM rollout_station WHERE rollout_id = ?"
            return dict(connection.execute(query, (rollout_id,)).fetchall())

    def await_state(self, rollout_id: int, station: Outpost, state: str) -> None:
        eventually(lambda: self.states(rollout_id)[station.station_id] == state, f"{station.station_id} {state}")

    def open_window(self, rollout_id: int, text: str) -> None:
        """As if it had been started with this window: nobody can change one, and no test can wait for hours."""
        minutes = [int(each[:2]) * 60 + int(each[3:]) for each in text.split("-")]
        change = "UPDATE rollout SET window_from = ?, window_to = ? WHERE rollout_id = ?"
        self.house.sql(change, values=(*minutes, rollout_id))

    def told(self, station: Outpost, rollout_id: int) -> list[str]:
        """Every result that the cloud has of a station, oldest first."""
        found = self.cloud("operations", "list", station.station_id)["operations"]
        results = [each["payload"] for each in reversed(found) if each["type"] == "update_result"]
        return [each["state"] for each in results if each["rollout_id"] == rollout_id]


class StatusLine:
    """systemd's notification socket: what a service last said of itself."""

    def __init__(self, path: Path) -> None:
        self.address, self.text = f"@aquasmart-{path.parent.name}-{os.getpid()}-{id(self)}", ""
        self.pets = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while said := self._socket.recv(4_096).decode():
                if said.startswith("STATUS="):
                    self.text = said.removeprefix("STATUS=")
                self.pets += said == "WATCHDOG=1"


class Board(Outpost):
    """A station that was made from an image, in a group of its own or of others."""

    def prepare(self, group: str) -> None:
        """Its image, its programs beside `rauc`, its group."""
        self.world = self.root / "rauc"
        programs = self.root / "programs"
        for folder in (self.world, programs, self.root / "update"):
            folder.mkdir()
        (self.root / "update").chmod(0o700)
        _script(programs / "rauc", f'exec {sys.executable} -m tests.fakes.rauc_program "$@"')
        _script(programs / "systemctl", f'echo "$@" >> {self.world / "systemctl"}')
        self.programs = programs
        self.status_line = StatusLine(self.root / "notify")
        self.image(**OLD)
        self.house.site.cloud("station", "group", self.station_id, group)

    def close(self) -> None:
        super().close()
        self.status_line.close()

    def image(self, **says: Any) -> None:
        """What the running image says of itself."""
        (self.root / "image.json").write_text(json.dumps(says))

    @property
    def agent_launcher(self) -> Launcher:
        return self.under()

    def under(self, *command: str) -> Launcher:
        """Starts the agent, perhaps under another command, such as faketime."""

        def launch(arguments: list[str], log: Path) -> Process:
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("AQUASMART_", "NOTIFY_"))}
            kept |= {"PATH": f"{self.programs}:{kept['PATH']}", "RAUC_WORLD": str(self.world)}
            kept |= {"PYTHONPATH": str(REPOSITORY), "NOTIFY_SOCKET": self.status_line.address}
            if command:
                return _Plain([*command, program("aquasmart"), *arguments], kept, log)
            return nursery.shared().spawn(["aquasmart", *arguments], environment=kept, output=log)

        return launch

    def run_agent(self) -> None:
        self.start(AGENT, launcher=self.agent_launcher)

    def run(self) -> None:
        """Everything: meter, reader, sync, agent."""
        self.start("meter", "reader", "sync")
        self.run_agent()

    @property
    def part(self) -> Path:
        return self.root / "update" / "bundle.part"

    @property
    def whole(self) -> Path:
        return self.root / "update" / "bundle.raucb"

    def progress(self) -> dict[str, Any]:
        path = self.root / "update" / "state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def order(self, word: str) -> None:
        """How `rauc` is to fail from now on."""
        (self.world / "order").write_text(word)

    def calls(self, word: str) -> int:
        """How often `rauc` was asked for this."""
        path = self.world / "calls"
        return path.read_text().split().count(word) if path.exists() else 0

    def installed(self) -> bytes:
        """What the other slot holds."""
        path = self.world / "other-slot"
        return path.read_bytes() if path.exists() else b""

    def reboots(self) -> int:
        path = self.world / "systemctl"
        return path.read_text().count("reboot") if path.exists() else 0

    def boot(self, image: dict[str, Any], *, good: bool) -> None:
        """The board starts again: with this image, marked good or not. Reader and sync come up with it."""
        for name in (AGENT, "sync", "reader"):
            self.stop(name)
        path = self.root / "update" / "state.json"
        path.write_text(json.dumps(self.progress() | {"boot_id": "of-the-boot-before"}))
        self.image(**image)
        if good:
            self.mark_good(image["number"])
        self.start("reader", "sync")
        self.run_agent()

    def mark_good(self, number: int) -> None:
        """As aquasmart-mark-good leaves it."""
        (self.root / "update" / "highest-good").write_text(f"{number}\n")

    def agent_says(self) -> str:
        """The line that `systemctl status aquasmart-update` would show."""
        return self.status_line.text

    def flow_ul_s(self) -> int | None:
        """What the reader shows."""
        shown = read_meters(self.root / "run" / "live.db").get(self.meter.id)
        return None if shown is None else shown.flow_ul_s

    def slow_link(self, delay_s: float) -> None:
        """So long before each piece of a bundle comes."""

        def policy(exchange: Exchange) -> Fault | None:
            return Fault("slow", delay_answer_s=delay_s) if exchange.target.startswith("/v1/bundles/") else None

        self.relay.policy = policy if delay_s else None

    def results(self) -> list[str]:
        """What the station's own queue holds of results, in order; nothing while there is no queue."""
        path = self.root / "station" / "ops.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'operation'").fetchone():
                return []
            query = "SELECT parameters FROM operation WHERE type = 'update_result' ORDER BY id"
            return [json.loads(row[0])["state"] for row in connection.execute(query).fetchall()]

    def cuts(self) -> list[tuple[int, int]]:
        """Every range that the agent asked for, in order."""
        found = []
        for each in list(self.relay.exchanges):
            if each.target.startswith("/v1/bundles/"):
                begin, _, end = each.headers["range"].removeprefix("bytes=").partition("-")
                found.append((int(begin), int(end)))
        return found


class _Plain:
    """A process that was started by its command line."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=REPOSITORY,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: int) -> None:
        if self.alive():
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
