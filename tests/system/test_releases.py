"""The packages on the other Debian that they are for: its Python, its systemd, its versions of the modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_station.cli.doctor import WARNINGS
from tests.integration.world import eventually
from tests.system import report
from tests.system.packaged import CLOUD, WORKER, PackagedCloud, apt_install, bare, ready, unit_complaints
from tests.system.rootfs import PYTHON_OF, debian, release_name
from tests.system.station import READER, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("packaging", "nspawn")]

MakeStation = Callable[..., Station]
OTHERS = sorted(PYTHON_OF.keys() - {release_name()})
"""Everything else under tests/system runs on this machine's own."""
LOUD = """
import importlib, pkgutil, warnings
for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, SyntaxWarning):
    warnings.filterwarnings("error", category=category, module="aquasmart_station")
import aquasmart_station as package
names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
"""Imports all of the station; what its own code is warned of is an error."""


@pytest.mark.parametrize("release", OTHERS)
def test_the_stations_package_on_another_release(
    make_station: MakeStation, station_deb: Path, release: str, record_property: object
) -> None:
    station = bare(make_station, debian(release))
    assert station.cable is not None
    run = station.machine.run
    python = run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
    assert python == PYTHON_OF[release]

    done = apt_install(station, station_deb)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # Byte code is made here: a construct that this Python means to drop would be named.
    assert "Warning:" not in said
    assert int(run("python3", "-I", "-c", LOUD).stdout) > 50
    assert unit_complaints(station, "aquasmart*") == ""
    for unit in (READER, SYNC):
        run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)

    station.provision(station.cable.host_address)
    station.systemctl("daemon-reload")
    station.systemctl("start", "meter.service", "aquasmart.target", READER, SYNC)
    station.await_up(READER, SYNC)
    station.begin()
    # A boot of its own: users, folders and the order of things are this systemd's now.
    station.machine.power_off()
    station.machine.boot()
    station.await_up(READER, SYNC)
    station.await_events()
    assert station.systemctl("--failed", "--no-legend") == ""
    eventually(lambda: station.command("status")["pending"] < 20, "delivering")
    doctor = run("aquasmart", "doctor", check=False)
    assert doctor.returncode in {0, WARNINGS}, doctor.stdout
    assert run("aquasmart", "status").stdout
    said = station.journal("-b", "-p", "warning", "-u", "aquasmart*")
    assert "Deprecat" not in said
    report.note(
        record_property, f"station's package on Debian {release}: installed, booted, delivered",
        volume_ul=station.settle(), measured=f"Python {python}, {systemd_version(station)}",
    )  # fmt: skip


def systemd_version(station: Station) -> str:
    return " ".join(station.machine.run("systemctl", "--version").stdout.split()[:2])


@pytest.mark.parametrize("release", OTHERS)
def test_the_clouds_package_on_another_release(
    make_station: MakeStation,
    station_deb: Path,
    cloud_deb: Path,
    cloud_deb_for: Callable[[str], Path],
    release: str,
    record_property: object,
) -> None:
    """Built for another Python it is refused in one line; built for this one it counts."""
    cloud = PackagedCloud()
    station = bare(make_station, debian(release), cloud)
    cloud.machine = station.machine
    done = apt_install(station, cloud_deb)
    assert done.returncode != 0
    # In apt's own words: what it would need, and what this Debian has.
    said = (done.stdout + done.stderr).splitlines()
    words = [line for line in said if "aquasmart-cloud : Depends: python3 (" in line]
    assert len(words) == 1, done
    assert f" but {PYTHON_OF[release]}." in words[0]
    assert not (station.machine.root / "usr/lib/aquasmart-cloud").exists()

    done = apt_install(station, cloud_deb_for(release))
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: ready(station), "the cloud up", 60)
    station.await_up(CLOUD, WORKER)
    assert unit_complaints(station, "aquasmart-cloud*") == ""
    for unit in (CLOUD, WORKER):
        station.machine.run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)

    assert apt_install(station, station_deb).returncode == 0
    station.provision("127.0.0.1")
    station.systemctl("daemon-reload")
    station.systemctl("start", "meter.service", "aquasmart.target", READER, SYNC)
    station.await_up(READER, SYNC)
    station.begin()
    report.note(
        record_property, f"cloud's package on Debian {release}: another Python's refused, its own delivered to",
        volume_ul=station.settle(), measured=f"Python {PYTHON_OF[release]}, {systemd_version(station)}",
    )  # fmt: skip
