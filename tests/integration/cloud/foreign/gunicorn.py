"""The cloud as it is served: gunicorn with the deployed configuration, on either store, requests over a socket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.stations import Stations
from demo.groups import Group
from demo.site import REPOSITORY, program
from tests.contract import reference as ref
from tests.fakes.ports import free_port
from tests.integration.cloud.senders import _fresh
from tests.integration.store.stores import Store

ADMIN = "correct-horse-battery-staple"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """One answer, its body read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """One cloud under gunicorn; `with` starts and ends it.

    `url` is that of a migrated database, a SQLite file in the folder by default; `settings` are further environment
    variables.
    """

    def __init__(self, folder: Path, url: str | None = None, **settings: str) -> None:
        self.folder, self.settings, self.port = folder, settings, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.master_key = bytes(range(100, 132))
        for name, text in (("master.key", self.master_key.hex()), ("admin.token", ADMIN)):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        self.url = url or f"sqlite:///{folder / 'cloud.db'}"
        if url is None:
            (folder / "cloud.db").write_bytes(_fresh())
        self.database = Database(self.url)
        self.clients = Clients(self.database)
        self._group: Group | None = None

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._group is not None:
            self._group.stop(10)
        self.database.close()

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AQUASMART_")}
        ours = {
            "AQUASMART_MASTER_KEY_FILE": str(self.folder / "master.key"),
            "AQUASMART_BIND": f"127.0.0.1:{self.port}",
            "AQUASMART_DATABASE_URL": self.url,
        }
        return kept | ours | self.settings

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._group = Group("cloud", self.folder, self.folder)
        conf = str(REPOSITORY / "deploy" / "gunicorn.conf.py")
        command = [program("gunicorn"), "-c", conf, "aquasmart_cloud:create_app()"]
        self._group.start(command, cwd=REPOSITORY, environment=self.environment())
        deadline = time.monotonic() + DEADLINE_S
        while not self._ready():
            log = (self.folder / "cloud.log").read_text()
            assert self._group.alive(), log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for all of it, at once."""
        assert self._group is not None
        self._group.kill()

    def _ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").status == 200
        except (OSError, HTTPException):
            return False

    def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own. Errors: OSError, HTTPException where there is no answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | (headers or {})
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.request(method, target, data, given)
            answer = line.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def stream(self, target: str, token: str) -> Iterator[bytes]:
        """The lines of a long answer, one by one."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as line:
            line.request("GET", target, None, {"Authorization": f"Bearer {token}"})
            yield from line.getresponse()

    def peak_kb(self) -> int:
        """The most memory that any of the server's processes has had resident, KiB."""
        assert self._group is not None
        children = Path(f"/proc/{self._group.pid}/task/{self._group.pid}/children").read_text().split()
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in children]
        return max(int(text.partition("VmHWM:")[2].split()[0]) for text in texts)

    def person(self, method: str, target: str, body: Any = None) -> Answer:
        """A request with the admin token."""
        return self.ask(method, target, body, {"Authorization": f"Bearer {ADMIN}"})

    def client(self, name: str = "acme", **settings: Any) -> ClientOf:
        """A new client with its token."""
        new = self.clients.add(name, 1)
        if settings:
            self.clients.change(new.client_id, settings)
        return ClientOf(self, new.client_id, new.token)

    def signed(self, station_id: str, body: bytes, **changes: str) -> Answer:
        """A signed request to the intake, from a station made for it."""
        new = Stations(self.database, self.master_key).add(station_id, "", 1)
        timestamp = str(time.time_ns() // 1_000_000)
        string = ref.signing_string(timestamp, "POST", "/api/events", station_id, body)
        headers = {
            "X-Station-Id": station_id,
            "X-Key-Id": new.key_id,
            "X-Timestamp": timestamp,
            "X-Signature": ref.signature(bytes.fromhex(new.key), string),
        }
        return self.ask("POST", "/api/events", body, headers | changes)

    def stations_add(self, station_id: str) -> None:
        """A station that sends nothing here."""
        Stations(self.database, self.master_key).add(station_id, "", 1)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, read beside the server."""
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text, values).fetchall()]

    def execute(self, text: str, *values: Any) -> None:
        """Change the database beside the server."""
        with self.database.writing() as connection:
            connection.execute(text, values)

    def rows(self) -> dict[str, int]:
        """How many rows each table of the intake has."""
        tables = ("foreign_event", "row_identity", "failed_event", "foreign_rollup", "processing_log")
        return {table: self.query(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


@contextmanager
def served_on(store: Store, folder: Path, **settings: str) -> Iterator[Served]:
    """A served cloud on a fresh database of that kind; two workers where the store takes them."""
    if store.kind == "sqlite":
        with Served(folder, **settings) as running:
            yield running
        return
    name = store.server.fresh()
    try:
        with Served(folder, store.server.url(name), AQUASMART_WORKERS="2", **settings) as running:
            yield running
    finally:
        store.server.drop(name)


@dataclass(frozen=True)
class ClientOf:
    """A client of a served cloud."""

    cloud: Served
    client_id: str
    token: str

    def send(self, body: Any, **headers: str) -> Answer:
        """Send one event, or many."""
        given = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.cloud.ask("POST", "/api/events", body, given)

    def get(self, target: str) -> Answer:
        return self.cloud.ask("GET", target, None, {"Authorization": f"Bearer {self.token}"})


def event(**changes: Any) -> dict[str, Any]:
    """An event that is right; a change to None leaves the field out."""
    made = {"source": "pos", "metric": "sale", "amount": 1200, "timestamp": "2024-03-01T10:15:00Z"} | changes
    return {name: value for name, value in made.items() if value is not None}
