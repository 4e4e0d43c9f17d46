"""A key rotation between the station's real lane and the real cloud, in one process that can be killed anywhere in it.

`python -m tests.fakes.boundaries` counts every SQL statement and every change of a file's name on both sides.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aquasmart_cloud.config import Config
from aquasmart_cloud.store import migrating, rotation
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from aquasmart_cloud.web.app import create_app
from aquasmart_station.adapters.clock import SystemClock
from aquasmart_station.adapters.key_files import read_keys
from aquasmart_station.adapters.ops import OpsFile
from aquasmart_station.core.conversation import CloudClock, Identity
from aquasmart_station.core.keyring import KeyRing
from aquasmart_station.core.outcome import Answer, Delivered, NoAnswer
from aquasmart_station.services.exchange import Asked, Exchange
from aquasmart_station.services.operations import OperationsLane
from aquasmart_station.services.rotating import KEY_CONFIRM, KeyRotation

STATION = "demo-1"
MASTER_KEY = bytes(range(100, 132))


class _Here:
    """An answer that is there already."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def wait(self, timeout_s: float) -> Answer | NoAnswer | None:  # noqa: ARG002
        return self._answer


class InProcess:
    """Carries requests to the real application, without a network between."""

    def __init__(self, config: Config, ahead_ms: int) -> None:
        app = create_app(config, clock_ms=lambda: time.time_ns() // 1_000_000 + ahead_ms)
        self._client, self.database = app.test_client(), app.extensions["aquasmart"].database

    def post(self, target: str, headers: dict[str, str], body: bytes) -> _Here:
        return self._send("POST", target, headers, body)

    def get(self, target: str, headers: dict[str, str]) -> _Here:
        return self._send("GET", target, headers, b"")

    def abandon(self) -> None:
        """Nothing is under way."""

    def _send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Here:
        answer = self._client.open(target, method=method, headers=headers, data=body)
        found = {name.lower(): value for name, value in answer.headers.items()}
        return _Here(Answer(answer.status_code, found, answer.get_data()))


class Pair:
    """Station and cloud in one folder."""

    def __init__(self, folder: Path, *, ahead_ms: int = 0) -> None:
        """`ahead_ms`: of the cloud's clock, so that what a dead worker held is free at once."""
        self.folder = folder
        config = Config(f"sqlite:///{folder / 'cloud.db'}", MASTER_KEY, "correct-horse-battery-staple")
        self.database = Database(config.database_url)
        self.stations = Stations(self.database, MASTER_KEY)
        first = Identity(STATION, "k1", "0.1.0", bytes.fromhex((folder / "first.key").read_text()))
        kept = [Identity(STATION, key_id, "0.1.0", key) for key_id, key in read_keys(folder / "keys")]
        self.keys, clock, cloud_clock = KeyRing([*kept, first]), SystemClock(), CloudClock()
        self.ops = OpsFile(folder / "ops.db")
        self.ops.take_over(1)
        self.courier = courier = InProcess(config, ahead_ms)
        self.rotation = KeyRotation(
            ops=self.ops,
            keys=self.keys,
            folder=folder / "keys",
            now_ms=lambda: time.time_ns() // 1_000_000,
            mono_s=time.monotonic,
        )
        self.exchange = Exchange(courier, self.keys, clock, cloud_clock)
        self.lane = OperationsLane(
            ops=self.ops,
            exchange=Exchange(courier, self.keys, clock, cloud_clock, lane="operation"),
            clock=clock,
            draw=lambda: 0.0,
            effects={KEY_CONFIRM: self.rotation},
            announced=self.rotation.offered,
        )

    def fetch(self) -> Mapping[str, Any]:
        """One signed request of another lane, with the preferred key, or with the other once. AssertionError."""
        self.exchange.ask(Asked("/v1/config", b"", "ab" * 16, method="GET"))
        for outcome in itertools.islice(iter(lambda: self.exchange.outcome(0.0), ...), 5):
            if outcome is not None:
                assert isinstance(outcome, Delivered), outcome
                self.rotation.offered(outcome.data)
                return outcome.data
        raise AssertionError("no answer")

    def turn(self) -> None:
        """What sync does over and over: an answer that announces, operations, an answer again."""
        for _ in range(2):
            self.fetch()
            self.lane.step()
        self.fetch()

    def close(self) -> None:
        self.ops.close()
        self.database.close()
        self.courier.database.close()


def provisioned(folder: str) -> None:
    """A station with its first key, and a rotation that was offered."""
    path = Path(folder)
    database = Database(f"sqlite:///{path / 'cloud.db'}")
    migrating.upgrade(database)
    stations = Stations(database, MASTER_KEY)
    made = stations.add(STATION, "", 1)
    (path / "first.key").write_text(made.key)
    OpsFile(path / "ops.db").take_over(1)
    rotation.offer(database, STATION, lambda connection: stations.next_key_id(connection, STATION), 2)
    database.close()


def rotate(folder: str) -> None:
    """The rotation from its announcement to its confirmation."""
    pair = Pair(Path(folder))
    pair.turn()
    pair.close()
