"""The drills of docs/runbook-keys.md: its very commands, in its order, on a served cloud with a counting station."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from aquasmart_cloud.core.errors import SealError
from aquasmart_cloud.store.stations import Stations
from demo.site import REPOSITORY, program
from tests.integration.cloud.foreign.gunicorn import Answer, Served
from tests.integration.cloud.senders import Run
from tests.integration.wire import Message

PAGE = (REPOSITORY / "docs" / "runbook-keys.md").read_text()


def commands(heading: str) -> list[str]:
    """The commands under a heading of the page."""
    section = PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    found = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert found
    return found


class Drill:
    """A cloud, one station and what it has counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = Served(folder)
        new = Stations(self.cloud.database, self.cloud.master_key).add("demo-1", "", 1)
        self.first_key = (new.key_id, bytes.fromhex(new.key))
        self.run, self.counted = Run(1_000_000), 0

    def shell(self, line: str, status: int = 0) -> str:
        """One line of the page, as an engineer types it."""
        path = f"{Path(program('aquasmart-cloud')).parent}:{os.environ['PATH']}"
        environment = self.cloud.environment() | {"PATH": path}
        done = subprocess.run(line, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def send(self, key: tuple[str, bytes], batch: dict[str, object]) -> Answer:
        headers = (("X-Station-Id", "demo-1"), ("X-Key-Id", key[0]))
        message = Message("POST /v1/ingest HTTP/1.1", headers, json.dumps(batch).encode()).signed(key[1])
        return self.cloud.ask("POST", "/v1/ingest", message.body, dict(message.headers))

    def count(self, *pulses: int) -> dict[str, object]:
        self.counted += sum(pulses)
        return self.run.batch(list(pulses))

    def volume_ul(self) -> int:
        return int(self.cloud.query("SELECT volume_ul FROM station WHERE station_id = 'demo-1'")[0][0])

    def counts_booked(self) -> int:
        return int(self.cloud.query("SELECT sum(to_counts - from_counts) FROM ledger_interval")[0][0])


@pytest.fixture
def drill(tmp_path: Path) -> Drill:
    return Drill(tmp_path / "cloud")


def new_key(said: str) -> tuple[str, bytes]:
    """Of what `station rotate-key` prints."""
    match = re.search(r"key (\S+), shown this once:\n([0-9a-f]{64})", said)
    assert match is not None, said
    return match[1], bytes.fromhex(match[2])


def test_a_leaked_master_key(drill: Drill) -> None:
    rekey, rotate, revoke = commands("Leaked")
    with drill.cloud as cloud:
        assert drill.send(drill.first_key, drill.count(5, 7)).status == 200
        drill.shell(rekey)
        leaked = Stations(cloud.database, cloud.master_key)
        with pytest.raises(SealError):
            leaked.find_key("demo-1", "k1")
        assert drill.send(drill.first_key, drill.count(1)).status == 200, "the station notices nothing"
        second = new_key(drill.shell(rotate))
        assert drill.send(second, drill.count(2)).status == 200
        drill.shell(revoke)
        assert drill.send(drill.first_key, drill.run.batch([9])).status == 403
        assert drill.counts_booked() == drill.counted
        assert '"well": true' in drill.shell("aquasmart-cloud doctor --json")


def test_a_lost_master_key(drill: Drill) -> None:
    move, init, doctor, rotate = commands("Lost")
    with drill.cloud as cloud:
        assert drill.send(drill.first_key, drill.count(5, 7)).status == 200
        before = drill.volume_ul()
    drill.shell(move)
    assert "made" in drill.shell(init)
    said = drill.shell(doctor, status=1)
    assert "the master key does not open station_key demo-1 k1" in said
    assert "docs/runbook-keys.md" in said
    second = new_key(drill.shell(rotate))
    held = drill.count(11, 2)
    with drill.cloud as cloud:
        refused = drill.send(drill.first_key, held)
        assert (refused.status, "retry-after" in refused.headers) == (503, True), "a station keeps it, and waits"
        assert drill.volume_ul() == before
        taken = drill.send(second, held)
        assert (taken.status, taken.json["data"]["inserted"]) == (200, 2)
        assert drill.send(second, held).json["data"]["inserted"] == 0
        assert drill.counts_booked() == drill.counted == 25
        assert cloud.query("SELECT count(*) FROM ledger_entry")[0][0] == 0
        # Found after all.
        drill.shell("cp master.key.lost master.key.previous")
        drill.shell("aquasmart-cloud rekey")
        assert drill.send(drill.first_key, drill.count(1)).status == 200
        assert drill.send(second, drill.count(1)).status == 200
        assert '"well": true' in drill.shell("aquasmart-cloud doctor --json")


def test_every_command_of_the_page_exists(drill: Drill) -> None:
    for line in re.findall(r"`(aquasmart-cloud [^`]+)`", PAGE):
        words = [word for word in line.split() if not word.startswith("-") and word.islower()]
        drill.shell(f"{' '.join(words[:2])} --help")
