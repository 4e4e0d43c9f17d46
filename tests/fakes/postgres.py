"""A real PostgreSQL of our own: made in a temporary folder, started, killed and thrown away by the tests.

The server refuses to run as root, so for root a user is made who may do nothing but that. Nothing is shared with a
server that the machine may already run: own folder, own socket, own port.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg

from aquasmart_cloud.store import migrating
from aquasmart_cloud.store.database import Database
from tests.capabilities import postgres_programs
from tests.fakes.ports import free_port

USER = "aquasmart-pgtest"
TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 10**9
_SETTINGS = {"max_connections": "60", "shared_buffers": "64MB", "max_wal_size": "512MB", "log_min_messages": "fatal"}


class Postgres:
    """One server. `stop("immediate")` is what a crash leaves: no shutdown checkpoint, recovery at the next start."""

    def __init__(self, *, on_disk: bool = False) -> None:
        """In memory where the machine has room, since a commit's flush is what tests mostly wait for."""
        programs = postgres_programs()
        assert programs is not None
        self._programs = programs
        in_memory = not on_disk and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > _ROOM_BYTES
        self.folder = Path(tempfile.mkdtemp(prefix="aquasmart-pg-", dir=MEMORY if in_memory else None))
        self.port = free_port()

    def make(self) -> None:
        """initdb, start, and a database with the schema that others are copied from."""
        if os.geteuid() == 0:
            _make_user()
            shutil.chown(self.folder, USER)
        self._run("initdb", "-D", str(self.data), "-U", "aquasmart", "-A", "trust", "-E", "UTF8", "--no-locale")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n")
            file.write(f"unix_socket_directories = '{self.folder}'\n")
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        self.start()
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        database = Database(self.url(TEMPLATE))
        migrating.upgrade(database)
        database.close()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, name: str, *, tcp: bool = False) -> str:
        """The address of one of its databases, by socket or by loopback."""
        if tcp:
            return f"postgresql://aquasmart@127.0.0.1:{self.port}/{name}"
        return f"postgresql://aquasmart@/{name}?host={self.folder}&port={self.port}"

    def fresh(self, *, empty: bool = False) -> str:
        """A new database with the newest schema, or with none; its name."""
        name = f"t{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else TEMPLATE}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, sql: str) -> None:
        """One command for the server itself."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")

    def destroy(self) -> None:
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        user = USER if os.geteuid() == 0 else None
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=user,
            group=pwd.getpwnam(USER).pw_gid if user else None,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            # The server inherits these: a pipe would keep us waiting for its end.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        if done.returncode != 0:
            log = self.folder / "log"
            raise RuntimeError(f"{program} {arguments} failed: {log.read_text()[-2000:] if log.exists() else ''}")


def _make_user() -> None:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER], check=False)
        pwd.getpwnam(USER)
