"""A cloud of its own on either store, stations that send to it, and what they find: used by each part that sends.

PostgreSQL's settings are Debian's own, its files on the disk. Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from aquasmart_station.core.conversation import Identity
from demo.site import Site
from tests.capabilities import missing
from tests.fakes.postgres import Postgres

from .machines import disk_bytes, site
from .senders import Result, Task, send_all

STORES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Cloud:
    """One that runs. `disk_bytes`: what its database occupies."""

    place: Site
    url: str
    disk_bytes: Callable[[], int]

    def add_station(self, station_id: str) -> Identity:
        made = json.loads(self.place.cloud("station", "add", station_id, "--json"))
        return Identity(station_id, made["key_id"], "0.1.0", bytes.fromhex(made["key"]))

    def events(self) -> int:
        """How many events it says it has."""
        return sum(row["events"] for row in self.place.totals()["stations"])

    def send(self, identities: Sequence[Identity], rows_per_batch: int, batches: int) -> tuple[Result, float]:
        """So many batches of each, all at once; and the server's own CPU time for each request, µs.

        The kernel counts in ticks; half a one is added, so that a run too short to be counted is not told as free.
        """
        port = self.place.cloud_port
        tasks = [Task(port, rows_per_batch, batches, identity, seed) for seed, identity in enumerate(identities)]
        before_s = self._cpu_s()
        result = send_all(tasks)
        used_s = self._cpu_s() - before_s + 0.5 / os.sysconf("SC_CLK_TCK")
        return result, used_s / (batches * len(identities)) * 1e6

    def _cpu_s(self) -> float:
        """User and system time of gunicorn's processes; the database server's is not in it."""
        master = self.place.pid("cloud")
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        ticks = 0
        for pid in workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def why_not(store: str) -> str:
    """Why this store cannot be measured here; empty where it can."""
    return (missing(("postgresql",)) or "") if store == "postgresql" else ""


@contextlib.contextmanager
def served(store: str, workers: int | None = None) -> Iterator[Cloud]:
    """A fresh one under gunicorn, as deployed; `workers`: another number of processes than usual."""
    settings = {} if workers is None else {"AQUASMART_WORKERS": str(workers)}
    with contextlib.ExitStack() as stack:
        if store == "sqlite":
            place = stack.enter_context(site(cloud_settings=settings))
            database = place.root / "cloud" / "cloud.db"
            made = Cloud(place, f"sqlite:///{database}", lambda: disk_bytes(database))
        else:
            url = stack.enter_context(postgresql())
            place = stack.enter_context(site(cloud_settings=settings | {"AQUASMART_DATABASE_URL": url}))
            made = Cloud(place, url, lambda: _server_bytes(url))
        place.start("cloud")
        yield made


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    server = Postgres(on_disk=True)
    try:
        server.make()
        yield server.url(server.fresh())
    finally:
        server.destroy()


def _server_bytes(url: str) -> int:
    """What the database occupies, indexes and all; its WAL is re-used for ever and not counted."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return int(found[0])
