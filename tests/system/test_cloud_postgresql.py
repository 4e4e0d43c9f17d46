"""The cloud's package on Debian's PostgreSQL, set up as docs/runbook.md says: peer authentication over the socket, no
password anywhere; at the end by TCP and password. A station on the same machine delivers to it through all that an
operator does to either."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.packaged import CLOUD, WORKER, CloudOnPostgresql, bare, bring, dpkg, ready, relabel
from tests.system.rootfs import debian
from tests.system.station import READER, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("packaging", "nspawn")]

MakeStation = Callable[..., Station]
DATABASE = "postgresql.service"


@pytest.fixture
def cloud_on_postgresql() -> CloudOnPostgresql:
    return CloudOnPostgresql()


@pytest.fixture
def machine(
    make_station: MakeStation, cloud_on_postgresql: CloudOnPostgresql, station_deb: Path, cloud_deb: Path
) -> Station:
    """Cloud and station on one machine; the cloud keeps its books in PostgreSQL, the water flows."""
    station = bare(make_station, debian(None, "postgresql"), cloud_on_postgresql)
    cloud_on_postgresql.machine = station.machine
    run = station.machine.run
    dpkg(station, "-i", bring(station, cloud_deb))
    eventually(lambda: ready(station), "the cloud on SQLite, as it comes", 60)
    # docs/runbook.md, line by line.
    as_postgres = ("runuser", "-u", "postgres", "--")
    run(*as_postgres, "createuser", "aquasmart-cloud")
    words = ("--owner", "aquasmart-cloud", "--encoding", "UTF8", "--template", "template0", "aquasmart")
    run(*as_postgres, "createdb", *words)
    settings = station.machine.root / "etc/aquasmart-cloud/cloud.env"
    offered = "#AQUASMART_DATABASE_URL=postgresql:"
    assert offered in settings.read_text()
    settings.write_text(settings.read_text().replace(offered, offered[1:]))
    run("aquasmart-cloud", "db", "upgrade")
    station.systemctl("restart", CLOUD, WORKER)
    eventually(lambda: ready(station), "the cloud on PostgreSQL", 60)

    dpkg(station, "-i", bring(station, station_deb))
    station.provision("127.0.0.1")
    station.systemctl("daemon-reload")
    station.systemctl("start", "meter.service", "aquasmart.target", READER, SYNC)
    station.await_up(READER, SYNC)
    station.begin()
    return station


def worker_leads(cloud: CloudOnPostgresql) -> bool:
    """Whether somebody does what runs on a clock, by the lease in the database that the command asks."""
    assert cloud.machine is not None
    return cloud.machine.run("aquasmart-cloud", "worker", "status", check=False).stdout.count(" leads since ") == 1


def by_password(station: Station) -> None:
    """From now on as with a server elsewhere: by TCP, the password in a file of the service's user."""
    state = station.machine.root / "var/lib/aquasmart-cloud"
    secret = state / ".pgpass"
    secret.touch(mode=0o600)
    secret.write_text("127.0.0.1:5432:aquasmart:aquasmart-cloud:not-a-secret\n")
    os.chown(secret, state.stat().st_uid, state.stat().st_gid)
    alter = """ALTER ROLE "aquasmart-cloud" PASSWORD 'not-a-secret'"""
    station.machine.run("runuser", "-u", "postgres", "--", "psql", "-Xqc", alter)
    settings = station.machine.root / "etc/aquasmart-cloud/cloud.env"
    there = "postgresql://aquasmart-cloud@127.0.0.1/aquasmart"
    settings.write_text(settings.read_text() + f"AQUASMART_DATABASE_URL={there}\n")


def test_the_clouds_package_on_postgresql(
    machine: Station,
    cloud_on_postgresql: CloudOnPostgresql,
    cloud_deb: Path,
    tmp_path: Path,
    record_property: object,
) -> None:
    station, cloud = machine, cloud_on_postgresql
    version = " ".join(cloud.run("psql", "--version").split()[1:3]).replace("(PostgreSQL)", "PostgreSQL")
    eventually(lambda: worker_leads(cloud), "the worker leads", 60)
    station.settle()
    # The command that root types asks where the services write; SQLite's file has nothing of it.
    shown = cloud.command("station", "show", station.id)
    assert shown["volume_ul"] == station.books.volume_ul() > 0
    cloud.command("doctor")  # which ends with 1 where something is wrong

    # Switched off and on: both wait for the database, neither has to be started twice.
    station.machine.power_off()
    station.machine.boot()
    eventually(lambda: ready(station), "the cloud after a boot", 60)
    station.await_up(CLOUD, WORKER, READER, SYNC)
    assert [station.shown(unit, "NRestarts") for unit in (CLOUD, WORKER)] == ["0", "0"]

    # The database restarted under way, then gone for as long as it takes the station to notice.
    station.flow("steady")
    station.await_events()
    pids = [station.pid(unit) for unit in (CLOUD, WORKER)]
    station.systemctl("restart", DATABASE)
    station.await_events()
    station.systemctl("stop", DATABASE)
    eventually(lambda: not ready(station), "the cloud says that it cannot work")
    eventually(lambda: station.log.pending() > 20, "a backlog")
    station.systemctl("start", DATABASE)
    eventually(lambda: ready(station), "the cloud without a hand", 60)
    eventually(lambda: worker_leads(cloud), "the worker leads again", 90)
    volume_ul = station.settle()
    assert station.pid(CLOUD) == pids[0], "the web side outlives its database"
    report.note(
        record_property, "cloud's package on PostgreSQL: booted, database restarted, database gone",
        cycles=3, volume_ul=volume_ul, measured=version,
    )  # fmt: skip

    # Upgraded under way: the books stay, and go on.
    station.flow("steady")
    station.await_events()
    newer = tmp_path / "newer.deb"
    relabel(cloud_deb, newer, tmp_path / "unpacked")
    pid = station.pid(CLOUD)
    dpkg(station, "-i", bring(station, newer))
    station.await_restart(CLOUD, pid, 60)
    assert station.settle() > volume_ul

    # Removed and purged: the database is nobody's but the operator's. Installed again, it goes on where it was.
    # The station is quiet meanwhile: what it says of a cloud that is away is an event, too.
    station.systemctl("stop", SYNC)
    books = (station.books.volume_ul(), station.books.events(), station.books.marks())
    kept = (station.machine.root / "etc/aquasmart-cloud/cloud.env").read_text()
    dpkg(station, "--remove", "aquasmart-cloud")
    assert not station.up(CLOUD)
    assert not station.up(WORKER)
    assert (station.machine.root / "etc/aquasmart-cloud/cloud.env").read_text() == kept
    assert (station.books.volume_ul(), station.books.events(), station.books.marks()) == books
    station.systemctl("start", SYNC)
    station.flow("steady")
    station.await_events()
    by_password(station)
    dpkg(station, "-i", bring(station, cloud_deb))
    eventually(lambda: ready(station), "the cloud installed again", 60)
    volume_ul = station.settle()
    assert "@127.0.0.1/" in cloud.run("aquasmart-cloud", "db", "upgrade"), "the command by the password file as well"
    assert "PostgreSQL is untouched" in dpkg(station, "--purge", "aquasmart-cloud")
    assert station.books.volume_ul() == volume_ul
    report.note(
        record_property, "cloud's package on PostgreSQL: upgraded, removed, installed again, purged: books kept",
        cycles=3, volume_ul=volume_ul, measured=version,
    )  # fmt: skip
