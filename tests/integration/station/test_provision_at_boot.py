"""`aquasmart provision --at-boot`: once for each file, never against a station that counts, its words for a laptop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aquasmart_station.config import load_config
from aquasmart_station.services.boot_provisioning import BOOT_FILES, REPORT, boot_file
from demo.site import REPOSITORY, program
from tests.integration.station.provision_scenes import places, provision, provision_at_boot

KEY, OTHER, WIFI = "5a" * 32, "0c" * 32, "correct horse; battery"
FILE = f'''
station_id = "market-7"

[cloud]
url = "https://cloud.example"
key_id = "k1"
key = "{KEY}"

[network.wifi]
ssid = "Kiosk"
password = "{WIFI}"

[[meters]]
id = "tap-1"
driver = "pulse"
port = "/dev/serial/by-path/left"
k_factor = "452.25"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "aquasmart.toml").write_text(FILE)
    return tmp_path


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the unit runs."""
    (folder / "etc").mkdir(exist_ok=True)
    there = ["--config", str(folder / "etc" / "station.toml"), "provision", str(folder / "aquasmart.toml")]
    return subprocess.run(
        [program("aquasmart"), *there, "--at-boot", "--network-dir", str(folder / "network")],
        capture_output=True, text=True,
    )  # fmt: skip


def report(folder: Path) -> str:
    return (folder / REPORT).read_bytes().decode()


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with the time of its last change: what is written again shows."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_the_first_start_provisions_and_says_so_beside_the_file(folder: Path) -> None:
    done = start(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "station market-7 is provisioned from" in done.stdout
    assert load_config(folder / "etc" / "station.toml").cloud.key.hex() == KEY
    assert f"psk={WIFI}\n" in (folder / "network" / "aquasmart-wifi.nmconnection").read_text()
    said = report(folder)
    assert "station      market-7\r\n" in said
    assert "fingerprint" in said
    everything_readable = (folder / "aquasmart.toml").read_text() + said + done.stdout
    assert KEY not in everything_readable
    assert WIFI not in everything_readable


def test_a_file_that_was_dealt_with_is_left_alone_until_it_changes(folder: Path) -> None:
    start(folder)
    config = folder / "etc" / "station.toml"
    config.write_text(config.read_text() + "\n[sync]\nlinger_s = 7.5\n")
    before = contents(folder)
    again = start(folder)
    assert (again.returncode, "has not changed" in again.stdout) == (0, True)
    assert contents(folder) == before
    boot = folder / "aquasmart.toml"
    boot.write_text(boot.read_text().replace("cloud.example", "cloud2.example"))
    assert start(folder).returncode == 0
    changed = load_config(config)
    assert (changed.cloud.url, changed.sync.linger_s, changed.cloud.key.hex()) == ("https://cloud2.example", 7.5, KEY)


def test_a_station_that_was_provisioned_before_there_were_notes_is_left_as_it_is(folder: Path) -> None:
    """An upgrade: the file with its stars lies there since long, and settings were changed on the station since."""
    provision(str(folder))
    config = folder / "etc" / "station.toml"
    config.write_text(config.read_text().replace("cloud.example", "cloud3.example"))
    done = start(folder)
    assert (done.returncode, "has not changed" in done.stdout) == (0, True)
    assert load_config(config).cloud.url == "https://cloud3.example"
    boot = folder / "aquasmart.toml"
    boot.write_text(boot.read_text().replace("cloud.example", "cloud2.example"))
    assert start(folder).returncode == 0
    assert load_config(config).cloud.url == "https://cloud2.example"


def test_a_wrong_file_changes_nothing_and_its_faults_can_be_read_on_a_laptop(folder: Path) -> None:
    start(folder)
    before = {name: found for name, found in contents(folder).items() if name.startswith(("etc", "network"))}
    wrong = FILE.replace(KEY, OTHER[:-1]).replace('"452.25"', '"-1"').replace('"k1"', f'"{OTHER}!"')
    (folder / "aquasmart.toml").write_text(wrong)
    done = start(folder)
    assert done.returncode == 78
    assert {name: found for name, found in contents(folder).items() if name.startswith(("etc", "network"))} == before
    said = report(folder)
    for text in (said, done.stdout):
        for name in ("cloud.key:", "cloud.key_id:", "k_factor"):
            assert name in text, name
        assert "The former settings stand." in text
        assert OTHER[:33] not in text
        assert WIFI not in text
    assert "could not use aquasmart.toml" in said
    assert "\r\n  - cloud.key:" in said
    # Mended, it is taken at the next start.
    (folder / "aquasmart.toml").write_text(FILE.replace(KEY, OTHER))
    assert start(folder).returncode == 0
    assert load_config(folder / "etc" / "station.toml").cloud.key.hex() == OTHER
    assert "has set this station up" in report(folder)


def test_a_secret_in_the_wrong_place_is_not_repeated(folder: Path) -> None:
    (folder / "aquasmart.toml").write_text(FILE.replace('station_id = "market-7"', f'station_id = "{OTHER.upper()} "'))
    done = start(folder)
    assert done.returncode == 78
    assert "station_id" in report(folder)
    for text in (report(folder), done.stdout):
        assert OTHER.upper() not in text
        assert "This station is not set up yet." in text


def test_a_station_that_lost_its_settings_is_set_up_again_or_says_what_it_needs(folder: Path) -> None:
    start(folder)
    (folder / "etc" / "station.toml").unlink()
    assert start(folder).returncode == 0
    assert load_config(folder / "etc" / "station.toml").station_id == "market-7"
    for path in (folder / "etc").iterdir():
        path.unlink()
    assert start(folder).returncode == 78
    assert "put the key in again" in report(folder)


def test_where_nothing_can_be_written_it_is_said_and_tried_again(folder: Path) -> None:
    words = ["--config", "/proc/aquasmart/station.toml", "provision", str(folder / "aquasmart.toml"), "--at-boot"]
    done = subprocess.run([program("aquasmart"), *words], capture_output=True, text=True)
    assert (done.returncode, "cannot be written" in done.stdout) == (1, True)
    assert "could not do what aquasmart.toml asks for" in report(folder)
    assert (folder / "aquasmart.toml").read_text() == FILE
    assert start(folder).returncode == 0


def test_killed_at_any_step_the_next_start_ends_it(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The steps of provisioning, and the two after it: the word for the laptop, and the note that it is done."""
    target = tmp_path_factory.mktemp("cut")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.boundaries",
         "tests.integration.station.provision_scenes:provision_at_boot", str(folder), str(target)],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    boundaries = int(done.stdout)
    assert boundaries >= 30
    for kill_at in range(1, boundaries + 2):
        cut = target / str(kill_at)
        provision_at_boot(str(cut))
        assert load_config(places(cut).config).cloud.key.hex() == KEY
        readable = (cut / "aquasmart.toml").read_text() + report(cut)
        assert KEY not in readable
        assert WIFI not in readable
        assert "has set this station up" in report(cut)
        before = contents(cut)
        provision_at_boot(str(cut))
        assert contents(cut) == before


def test_the_unit_looks_where_the_command_looks(tmp_path: Path) -> None:
    unit = (REPOSITORY / "systemd" / "aquasmart-provision.service").read_text()
    conditions = [line.partition("=|")[2] for line in unit.splitlines() if line.startswith("ConditionPathExists=|")]
    assert [Path(each) for each in conditions] == list(BOOT_FILES)
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    assert boot_file((first, second)) == first
    second.touch()
    assert boot_file((first, second)) == second
    first.touch()
    assert boot_file((first, second)) == first
