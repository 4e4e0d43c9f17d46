"""From aquasmart.toml on the boot partition to a station that somebody can sign in to, by the scripts of the units."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aquasmart_station.core.pin import matches
from tests.unit.station.test_technician_access import FILE, KEY

from .appliance import FILES, Appliance, appliance, section
from .recipes import REPOSITORY

pytestmark = pytest.mark.needs("netns", "mount-namespace", "loop")
METER = '\n[[meters]]\nid = "tap-1"\ndriver = "pulse"\nport = "/dev/null"\nk_factor = 450\n'
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Appliance]:
    """An appliance whose boot partition is read-only, as its unit mounts it, with a provisioning file on it.

    Of ext4, since not every kernel that tests has FAT: what matters here is that it is a file system of its own.
    """
    image = tmp_path / "boot.img"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True, env=os.environ | {"PATH": PATH})
    with appliance(tmp_path / "station") as here:
        here.run("mkdir", "-p", "/boot/firmware")
        here.write("/run/boot.img", "")
        here.run("cp", str(image), "/run/boot.img")
        here.run("mount", "-o", "loop", "/run/boot.img", "/boot/firmware")
        try:
            here.write("/boot/firmware/aquasmart.toml", FILE + METER)
            here.run("mount", "-o", "remount,ro", "/boot/firmware")
            here.run("/usr/libexec/aquasmart/data-folders", "/data")
            here.run("mount", "--bind", "/data/etc/aquasmart", "/etc/aquasmart")
            yield here
        finally:
            here.run("umount", "/boot/firmware", check=False)
            here.run("umount", "/etc/aquasmart", check=False)


def test_it_is_provisioned_and_the_boot_partition_has_no_secret_and_cannot_be_written(station: Appliance) -> None:
    said = station.run("/usr/libexec/aquasmart/provision")
    assert "wiped 2 secrets" in said.stdout
    boot = station.run("cat", "/boot/firmware/aquasmart.toml").stdout
    assert "271828" not in boot
    assert "5a" * 32 not in boot
    assert KEY in boot
    assert station.run("touch", "/boot/firmware/x", check=False).returncode != 0
    # On the data partition, each with who may read it.
    owners = station.run("stat", "--format=%n %U:%G %a", *(f"/data/etc/aquasmart/{name}" for name in (
        "station.toml", "station.k1.key", "panel.pin", "technician.keys"))).stdout.splitlines()  # fmt: skip
    assert [line.split("/")[-1] for line in owners] == [
        "station.toml root:root 644",
        "station.k1.key root:root 600",
        "panel.pin root:aquasmart-panel 640",
        "technician.keys root:root 644",
    ]
    assert matches("271828", station.run("cat", "/etc/aquasmart/panel.pin").stdout)
    # The next boot does the same and finds nothing left to do.
    assert "nothing was left to do" in station.run("/usr/libexec/aquasmart/provision").stdout


def test_a_fault_changes_nothing_and_is_said(station: Appliance) -> None:
    station.run("mount", "-o", "remount,rw", "/boot/firmware")
    station.write("/boot/firmware/aquasmart.toml", (FILE + METER).replace('pin = "271828"', 'pin = "12"'))
    station.run("mount", "-o", "remount,ro", "/boot/firmware")
    said = station.run("/usr/libexec/aquasmart/provision", check=False)
    assert said.returncode == 78
    assert "access.pin: must be 6 to 12 digits" in said.stderr
    assert station.run("ls", "/etc/aquasmart").stdout.split() == ["image.json"]
    assert station.run("touch", "/boot/firmware/x", check=False).returncode != 0


def test_the_end_of_the_journal_is_kept_for_eight_boots(station: Appliance) -> None:
    for number in range(12):
        station.write(f"/data/journal/{number:032x}.log.gz", "x")
        station.run("touch", "-d", f"@{1_700_000_000 + number}", f"/data/journal/{number:032x}.log.gz")
    for _ in range(2):
        station.run("/usr/libexec/aquasmart/journal-tail", "/data/journal")
        kept = station.run("ls", "/data/journal").stdout.split()
        boot = station.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip().replace("-", "")
        assert sorted(kept) == sorted([f"{boot}.log.gz", *(f"{number:032x}.log.gz" for number in range(5, 12))])
        assert "warnings and errors" in station.run("zcat", f"/data/journal/{boot}.log.gz").stdout


def test_time_servers_of_a_network_come_and_go_with_it(station: Appliance) -> None:
    station.put(FILES / "etc/dispatcher-ntp", "/usr/libexec/aquasmart/dispatcher-ntp", 0o755)
    station.run(
        "env",
        "DHCP4_NTP_SERVERS=192.0.2.1 $(id) 192.0.2.2;x 192.0.2.3",
        "/usr/libexec/aquasmart/dispatcher-ntp",
        "eth0",
        "up",
    )
    said = station.run("cat", "/run/chrony-dhcp/eth0.sources").stdout
    assert said == "server 192.0.2.1 iburst\nserver 192.0.2.3 iburst\n"
    station.run("/usr/libexec/aquasmart/dispatcher-ntp", "eth0", "down")
    assert station.run("ls", "/run/chrony-dhcp").stdout == ""


def test_the_boot_unit_may_do_all_of_it_without_a_capability(station: Appliance) -> None:
    """As root without any, in the groups that the unit names; the remounts are what its unit does."""
    unit = (REPOSITORY / "systemd/aquasmart-provision.service").read_text()
    groups = section(unit, "Service")["SupplementaryGroups"]
    number = station.run("getent", "group", groups).stdout.split(":")[2]
    writable = section((FILES / "units/aquasmart-boot-writable.service").read_text(), "Service")
    station.run(*writable["ExecStart"].split())
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", f"--groups={number}"]
    said = station.run(*bare, "/usr/bin/aquasmart", "provision", "--at-boot", check=False)
    station.run(*writable["ExecStop"].split())
    assert said.returncode == 0, said.stdout + said.stderr
    assert station.run("stat", "--format=%U:%G", "/etc/aquasmart/panel.pin").stdout == "root:aquasmart-panel\n"
    assert "271828" not in station.run("cat", "/boot/firmware/aquasmart.toml").stdout
    assert station.run("touch", "/boot/firmware/x", check=False).returncode != 0
