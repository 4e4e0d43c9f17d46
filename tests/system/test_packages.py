"""The Debian packages: the same bytes from the same tree, nothing that lintian calls an error; installed, upgraded with
data, removed and purged on a booted Debian."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.conftest import build_deb
from tests.system.packaged import CLOUD, bare, bring, dpkg, ready, relabel, unit_complaints
from tests.system.station import READER, STATE, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("packaging", "nspawn")]

MakeStation = Callable[..., Station]


def assert_lintian_has_no_errors(deb: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", str(deb)], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout


def test_the_stations_package_is_sound_and_reproducible(station_deb: Path, tmp_path: Path) -> None:
    again = build_deb("station", tmp_path)
    assert again.read_bytes() == station_deb.read_bytes()
    assert_lintian_has_no_errors(station_deb)
    held = subprocess.run(["dpkg-deb", "--contents", str(station_deb)], capture_output=True, text=True).stdout
    # Units, sysusers, tmpfiles and rules are those of systemd/, each once.
    for name in ("aquasmart-reader.service", "sysusers.d/aquasmart.conf", "rules.d/60-aquasmart.rules"):
        assert held.count(name) == 1


def test_install_upgrade_remove_purge(
    make_station: MakeStation, station_deb: Path, tmp_path: Path, record_property: object
) -> None:
    station = bare(make_station)
    assert station.cable is not None
    state = station.machine.root / STATE

    # Installed and not provisioned: said, and nothing fails.
    assert "not provisioned yet" in dpkg(station, "-i", bring(station, station_deb))
    assert not station.up(READER)
    assert station.systemctl("--failed", "--no-legend") == ""
    station.provision(station.cable.host_address)
    station.systemctl("daemon-reload")
    station.systemctl("start", "meter.service", "aquasmart.target", READER, SYNC)
    station.await_up(READER, SYNC)
    station.begin()

    # Upgraded while water flows: restarted, the log and its streams go on.
    before, pid = station.log.events(), station.pid(READER)
    newer = build_deb("station", tmp_path, "--version", "99.0")
    dpkg(station, "-i", bring(station, newer))
    station.await_restart(READER, pid)
    station.await_up(READER, SYNC)
    station.await_events()
    assert station.log.events() > before
    volume_ul = station.settle()

    # Removed and purged while the cloud lacks something: it stays, and says so.
    station.cable.cut()
    station.flow("steady")
    station.await_events()
    assert "has not acknowledged" in dpkg(station, "--remove", "aquasmart-station")
    assert not station.up(READER)
    assert "KEPT" in dpkg(station, "--purge", "aquasmart-station")
    assert (state / "log.db").exists()
    assert (station.machine.root / "etc/aquasmart/station.key").exists()

    # Installed again it goes on where it was, and delivers.
    dpkg(station, "-i", bring(station, station_deb))
    station.cable.mend()
    station.await_up(READER, SYNC)
    volume_ul = station.settle()

    # With everything acknowledged, a purge leaves nothing.
    dpkg(station, "--remove", "aquasmart-station")
    assert (state / "log.db").exists(), "a removal keeps the data"
    assert "the log is removed" in dpkg(station, "--purge", "aquasmart-station")
    assert not state.exists()
    assert not (station.machine.root / "etc/aquasmart").exists()
    report.note(
        record_property, "package installed, upgraded, removed, purged (refused), installed, purged",
        cycles=2, volume_ul=volume_ul,
    )  # fmt: skip


def test_the_clouds_package(
    make_station: MakeStation, cloud_deb: Path, tmp_path: Path, record_property: object
) -> None:
    assert_lintian_has_no_errors(cloud_deb)
    station = bare(make_station)
    run = station.machine.run
    dpkg(station, "-i", bring(station, cloud_deb))
    eventually(lambda: station.up(CLOUD), "the cloud up", 60)
    assert ready(station)
    # Typed by root, done as the services' user: what it writes is theirs.
    run("aquasmart-cloud", "station", "add", "market-1")
    found = run("find", "/var/lib/aquasmart-cloud", "!", "-user", "aquasmart-cloud")
    assert found.stdout == ""
    run("systemd-analyze", "security", "--no-pager", "--threshold=20", CLOUD)
    assert unit_complaints(station, "aquasmart-cloud*") == ""

    # Upgraded: the books stay. Purged: they stay, too, and that is said.
    newer = tmp_path / "newer.deb"
    relabel(cloud_deb, newer, tmp_path / "unpacked")
    pid = station.pid(CLOUD)
    dpkg(station, "-i", bring(station, newer))
    station.await_restart(CLOUD, pid, 60)
    assert "market-1" in run("aquasmart-cloud", "station", "list").stdout
    said_of_purge = dpkg(station, "--purge", "aquasmart-cloud")
    assert "KEPT" in said_of_purge
    assert (station.machine.root / "var/lib/aquasmart-cloud/cloud.db").exists()
    assert not (station.machine.root / "usr/lib/aquasmart-cloud").exists()
    report.note(record_property, "cloud's package installed, upgraded, purged: books kept")
