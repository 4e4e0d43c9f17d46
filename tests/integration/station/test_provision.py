"""`aquasmart provision`: checked whole, done whole or again, and no secret left behind where a laptop can read it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aquasmart_station.adapters.provision_files import Wiping
from aquasmart_station.config import load_config
from aquasmart_station.core.provisioning import wipe_ranges
from aquasmart_station.services.provisioning import INTENT
from demo.site import REPOSITORY, program
from tests.integration.station.provision_scenes import places, provision

KEY, WIFI, PIN, PROXY = "5a" * 32, r"correct horse; battery", "4711", "prüfung-geheim"
CA = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----"
SECRETS = (KEY, WIFI, PROXY)
FILE = f'''
# The key that the operator sent: {KEY}
station_id = "market-7"

[cloud]
url = "https://cloud.example"
key_id = "k1"
key = "{KEY}"
ca = """
{CA}
"""

[cloud.proxy]
url = "http://proxy.example:3128"
user = "station"
password = '{PROXY}'

[network.wifi]
ssid = "Café;1"
password = "{WIFI}"   # of the kiosk

[network.modem]
apn = "internet"
pin = "{PIN}"

[network.ethernet]
address = "192.0.2.10/24"
gateway = "192.0.2.1"
dns = ["192.0.2.53"]

[sync]
bytes_per_hour = 200000
linger_s = 2.50

[[meters]]
id = "tap-left"
driver = "pulse"
port = "/dev/serial/by-path/left"
k_factor = "452.25"

[[meters]]
id = "tap-right"
driver = "modbus"
profile = "tuf2000"
port = "/dev/serial/by-path/right"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "aquasmart.toml").write_text(FILE)
    return tmp_path


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    there = ["--config", str(folder / "etc" / "station.toml"), "provision", str(folder / "aquasmart.toml")]
    (folder / "etc").mkdir(exist_ok=True)
    return subprocess.run(
        [program("aquasmart"), *there, "--network-dir", str(folder / "network"), *words], capture_output=True, text=True
    )


def assert_provisioned(folder: Path) -> None:
    """Everything is there, private where it must be, and no secret on the boot partition."""
    config = load_config(folder / "etc" / "station.toml")
    assert (config.station_id, config.cloud.key_id, config.cloud.key.hex()) == ("market-7", "k1", KEY)
    assert (config.cloud.url, config.cloud.proxy_url) == ("https://cloud.example", "http://proxy.example:3128")
    assert config.cloud.proxy_credentials == f"station:{PROXY}"
    assert config.cloud.ca_file is not None
    assert config.cloud.ca_file.read_text() == CA + "\n"
    assert [meter.id for meter in config.meters] == ["tap-left", "tap-right"]
    assert str(config.meters[0].settings.k_factor) == "1809/4"
    assert (config.sync.bytes_per_hour, config.sync.linger_s) == (200_000, 2.5)
    found = tree(folder)
    private = {name for name, (mode, _) in found.items() if mode == 0o600}
    networks = {f"network/aquasmart-{kind}.nmconnection" for kind in ("wifi", "modem", "ethernet")}
    assert private == {"etc/station.k1.key", "etc/station.key", "etc/proxy.credentials", *networks}
    assert (folder / "etc" / "station.key").readlink() == Path("station.k1.key")
    wifi = found["network/aquasmart-wifi.nmconnection"][1].decode()
    assert "ssid=67;97;102;195;169;59;49;\n" in wifi
    assert f"psk={WIFI}\n" in wifi
    assert "address1=192.0.2.10/24,192.0.2.1\n" in found["network/aquasmart-ethernet.nmconnection"][1].decode()
    assert_no_secret(folder)


def assert_no_secret(folder: Path) -> None:
    boot = (folder / "aquasmart.toml").read_bytes()
    assert len(boot) == len(FILE.encode())
    for secret in (*SECRETS, f'"{PIN}"'):
        assert secret.encode() not in boot


def test_one_file_makes_a_station(folder: Path) -> None:
    (folder / "aquasmart.toml").chmod(0o755)  # FAT has no other modes
    done = command(folder)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "aquasmart.toml").chmod(0o644)
    assert_provisioned(folder)
    for secret in SECRETS:
        assert secret not in done.stdout
    again = command(folder)
    assert (again.returncode, "nothing was left to do" in again.stdout) == (0, True)
    assert_provisioned(folder)


def test_the_label_says_who_it_is_and_no_secret(folder: Path) -> None:
    command(folder)
    text = command(folder, "--label", "--json").stdout
    label = json.loads(text)
    assert (label["station_id"], label["key_id"], label["meters"]) == ("market-7", "k1", ["tap-left", "tap-right"])
    assert len(label["key_fingerprint"]) == 12
    assert KEY not in text
    assert "▄" in command(folder, "--label").stdout
    assert "fingerprint " + label["key_fingerprint"] in command(folder, "--label").stdout


def test_check_changes_nothing(folder: Path) -> None:
    before = tree(folder)
    done = command(folder, "--check")
    assert (done.returncode, "is well: station market-7" in done.stdout) == (0, True)
    assert tree(folder) == before


def test_every_fault_in_one_message_and_nothing_changed(folder: Path) -> None:
    text = FILE
    for good, bad in (
        (KEY + '"\nca', KEY[:-1] + '"\nca'), ("https://cloud", "ftp://cloud"), ("192.0.2.1\"", "198.51.100.1\""),
        ("tuf2000", "tuf3000"), ("linger_s", "lingers"), ('"market-7"', '"Market 7"'), (WIFI, "short"),
    ):  # fmt: skip
        text = text.replace(good, bad)
    (folder / "aquasmart.toml").write_text(text)
    before = tree(folder)
    done = command(folder)
    assert done.returncode == 78
    for name in ("cloud.key:", "url:", "gateway:", "tuf3000", "sync.lingers", "station_id", "wifi.password"):
        assert name in done.stderr, name
    assert KEY[:-1] not in done.stderr
    assert "Nothing was changed" in done.stderr
    assert tree(folder) == before
    document = json.loads(command(folder, "--json").stdout)
    assert (document["ok"], len(document["faults"])) == (False, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("station_id = ", "not TOML"),
        (FILE.replace('key = "' + KEY, 'key = "\\u0035' + KEY[1:]), "without backslashes"),
        (FILE.replace("[network.wifi]", "[network.wlan]"), "there are the tables"),
        (FILE + "[led]\npin = 1\n", "led: is no setting"),
    ],
)
def test_what_cannot_be_used_or_wiped_is_refused(folder: Path, text: str, says: str) -> None:
    (folder / "aquasmart.toml").write_text(text)
    done = command(folder)
    assert (done.returncode, says in done.stderr) == (78, True), done.stderr
    assert not (folder / "etc" / "station.toml").exists()


def test_other_line_ends_and_a_byte_order_mark_are_a_laptops(folder: Path) -> None:
    data = b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode()
    (folder / "aquasmart.toml").write_bytes(data)
    assert command(folder).returncode == 0
    after = (folder / "aquasmart.toml").read_bytes()
    assert len(after) == len(data)
    assert not any(secret.encode() in after for secret in SECRETS)
    assert load_config(folder / "etc" / "station.toml").cloud.key.hex() == KEY


def test_a_services_credential_is_found_by_the_links_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units load `station.key`, whatever the id of the key that was provisioned."""
    provision(str(folder))
    given = folder / "credentials"
    given.mkdir()
    (given / "station.key").write_bytes((folder / "etc" / "station.key").read_bytes())
    (folder / "etc" / "station.k1.key").write_text("not for the services' eyes")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert load_config(folder / "etc" / "station.toml").cloud.key.hex() == KEY


def test_killed_at_any_step_a_repetition_ends_it(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file is there whole or not at all; station.toml, once there, can be started with; then the same again."""
    target = tmp_path_factory.mktemp("cut")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.boundaries", "tests.integration.station.provision_scenes:provision",
         str(folder), str(target)],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    boundaries = int(done.stdout)
    assert boundaries >= 30
    for kill_at in range(1, boundaries + 2):
        cut = target / str(kill_at)
        if (cut / "etc" / "station.toml").exists():
            assert load_config(cut / "etc" / "station.toml").cloud.key.hex() == KEY
        else:
            assert KEY.encode() in (cut / "aquasmart.toml").read_bytes()
        provision(str(cut))
        assert_provisioned(cut)
        assert not list(cut.rglob("*.part"))
        assert not (cut / "etc" / INTENT).exists()


def test_a_wiping_that_was_cut_in_the_middle_of_a_password_is_ended(folder: Path) -> None:
    """The power goes while half of the Wi-Fi password is overwritten: the half is not taken for a password."""
    boot = folder / "aquasmart.toml"
    ranges = wipe_ranges(boot.read_bytes())
    provision(str(folder))
    whole = tree(folder)
    data = bytearray(FILE.encode())
    for offset, length in ranges[:2]:
        data[offset : offset + length] = b"*" * length
    offset, length = ranges[3]
    data[offset : offset + length // 2] = b"*" * (length // 2)
    boot.write_bytes(FILE.encode())
    wiping = Wiping(places(folder).folder / INTENT)
    wiping._overwrite = lambda *_: None  # type: ignore[method-assign]
    wiping.begin(boot, ranges)
    boot.write_bytes(data)
    provision(str(folder))
    assert tree(folder) == whole
    assert_provisioned(folder)


def test_provisioned_anew_with_another_key_and_network(folder: Path) -> None:
    """What was moved stays where the file only shows stars; what is new replaces it; a former key goes."""
    provision(str(folder))
    boot = folder / "aquasmart.toml"
    moved = boot.read_text()
    boot.write_text(moved.replace("cloud.example", "cloud2.example").replace('apn = "internet"', 'apn = "m2m"'))
    done = provision(str(folder))
    config = load_config(folder / "etc" / "station.toml")
    assert (config.cloud.url, config.cloud.key.hex()) == ("https://cloud2.example", KEY)
    assert config.cloud.proxy_credentials == f"station:{PROXY}"
    assert done.wiped == 0
    modem = (folder / "network" / "aquasmart-modem.nmconnection").read_text()
    assert "apn=m2m\n" in modem
    assert f"pin={PIN}\n" in modem
    other = "0c" * 32
    before, _, after = FILE.replace(KEY, other).replace('"k1"', '"k2"').partition("[network.modem]")
    boot.write_text(before + "[[meters]]" + after.partition("[[meters]]")[2])
    provision(str(folder))
    assert load_config(folder / "etc" / "station.toml").cloud.key.hex() == other
    names = set(tree(folder))
    assert "etc/station.k1.key" not in names
    assert "network/aquasmart-modem.nmconnection" not in names
    assert "network/aquasmart-wifi.nmconnection" in names


def test_a_key_that_was_moved_and_is_not_here_is_asked_for(folder: Path) -> None:
    (folder / "aquasmart.toml").write_text(FILE.replace(KEY, "*" * 64))
    done = command(folder)
    assert (done.returncode, "put the key in again" in done.stderr) == (78, True)
    (folder / "aquasmart.toml").write_text(FILE.replace(PROXY, "****"))
    done = command(folder)
    assert (done.returncode, "proxy.password: was moved before" in done.stderr) == (78, True)
    (folder / "aquasmart.toml").write_text(FILE.replace(PIN, "****"))
    done = command(folder)
    assert (done.returncode, "aquasmart-modem was moved before" in done.stderr) == (78, True)


def test_where_nothing_can_be_written_it_says_so_and_the_key_stays(folder: Path) -> None:
    there = ["--config", "/proc/aquasmart/station.toml", "provision", str(folder / "aquasmart.toml")]
    done = subprocess.run([program("aquasmart"), *there], capture_output=True, text=True)
    assert (done.returncode, "Run it as root" in done.stderr) == (1, True)
    assert (folder / "aquasmart.toml").read_text() == FILE
