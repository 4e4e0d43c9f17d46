"""A card that a laptop wrote: the next start sets the station up and it counts; a wrong file stops nobody."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system import report
from tests.system.station import READER, SYNC, Station

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nspawn")]

MakeStation = Callable[..., Station]
UNIT = "aquasmart-provision.service"
WIFI, PIN = "correct horse; battery", "271828"


def on_the_boot_partition(station: Station) -> tuple[Path, str]:
    """A station whose settings and key stand in the boot partition's file only; that file, and the key."""
    root = station.machine.root
    key = (root / "etc/aquasmart/station.key").read_text().strip()
    text = (root / "etc/aquasmart/station.toml").read_text().replace('key_file = "station.key"', f'key = "{key}"')
    for name in ("station.toml", "station.key"):
        (root / "etc/aquasmart" / name).unlink()
    boot = root / "boot/firmware/aquasmart.toml"
    boot.parent.mkdir(parents=True)
    boot.write_text(text + f'[network.wifi]\nssid = "Kiosk"\npassword = "{WIFI}"\n[access]\npin = "{PIN}"\n')
    return boot, key


def beside(boot: Path) -> str:
    return (boot.parent / "aquasmart-provision.txt").read_text()


def started_anew(station: Station) -> None:
    station.machine.power_off()
    station.machine.boot()
    station.await_up(READER, SYNC)
    station.await_events()


def test_a_file_on_the_boot_partition_makes_a_station(make_station: MakeStation, record_property: object) -> None:
    station = make_station()
    root = station.machine.root
    boot, key = on_the_boot_partition(station)
    station.machine.boot()
    station.await_up(READER, SYNC)
    station.begin()
    assert (station.shown(UNIT, "Result"), station.shown(UNIT, "ActiveState")) == ("success", "inactive")
    assert f"station {station.id} is provisioned from /boot/firmware/aquasmart.toml" in station.status_text(UNIT)
    found = root / "etc/aquasmart/station.k1.key"
    keys = [path for path in found.parent.glob("station.*.key") if not path.is_symlink()]
    assert [(path.read_text().strip(), stat.S_IMODE(path.stat().st_mode)) for path in keys] == [(key, 0o600)]
    wifi = root / "etc/NetworkManager/system-connections/aquasmart-wifi.nmconnection"
    assert (stat.S_IMODE(wifi.stat().st_mode), f"psk={WIFI}\n" in wifi.read_text()) == (0o600, True)
    # The page's user reads the PIN's hash, and nobody else but root.
    pin = station.machine.run("stat", "--format=%U %G %a", "/etc/aquasmart/panel.pin").stdout.strip()
    assert pin == "root aquasmart-panel 640"
    readable = boot.read_text() + beside(boot) + station.journal("-u", UNIT)
    assert key not in readable
    assert WIFI not in readable
    assert PIN not in readable
    assert f"station      {station.id}" in beside(boot)
    # Before the network and before whatever of the station starts.
    before = set(station.shown(UNIT, "Before").split())
    assert {"network-pre.target", "aquasmart-check.service", READER, SYNC} <= before

    # Nothing is done again, and what was set here since stands.
    config = root / "etc/aquasmart/station.toml"
    config.write_text(config.read_text().replace("linger_s = 0.2", "linger_s = 0.3"))
    started_anew(station)
    assert "has not changed" in station.status_text(UNIT)
    assert "linger_s = 0.3" in config.read_text()

    # A wrong file, with another key in it: the station counts as before, and says what is wrong in both places.
    good = boot.read_text()
    other = "0c" * 32
    boot.write_text(good.replace("*" * 64, other[:-1]).replace("k_factor = 450", "k_factor = -1"))
    former = config.read_text()
    started_anew(station)
    assert (station.shown(UNIT, "ActiveState"), station.shown(UNIT, "ExecMainStatus")) == ("failed", "78")
    shown = station.machine.run("systemctl", "status", "--no-pager", UNIT, check=False).stdout
    (report.TARGET.parent / "provision-status.txt").write_text(shown)
    for text in (shown, beside(boot)):
        assert "cloud.key: must be 64 lower-case hex digits" in text
        assert "k_factor" in text
        assert "The former settings stand." in text
        assert other[:33] not in text
    assert config.read_text() == former

    # Mended, with another setting: taken at the next start; the key that was moved stays.
    boot.write_text(good.replace("heartbeat_s = 2", "heartbeat_s = 3"))
    started_anew(station)
    assert station.shown(UNIT, "Result") == "success"
    assert "heartbeat_s = 3" in config.read_text()
    report.note(
        record_property, "provisioned at boot; a wrong file; a changed file", cycles=4, volume_ul=station.settle()
    )


def test_a_board_without_a_file_and_without_settings_starts_in_peace(make_station: MakeStation) -> None:
    station = make_station()
    boot, _ = on_the_boot_partition(station)
    boot.unlink()
    station.machine.boot()
    assert station.shown(UNIT, "ConditionResult") == "no"
    assert not station.up(READER)
    assert station.systemctl("--failed", "--no-legend") == ""
