"""The firewall, loaded for real in a network of its own: the station's side reaches the page, the WAN nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.site import program
from tests.integration.world import eventually

from .appliance import LAPTOP, STATION, STATION_ON_WAN, WAN, Appliance, appliance

pytestmark = pytest.mark.needs("netns", "mount-namespace", "nftables")
RULES = "/usr/lib/aquasmart/nftables.conf"
STATION_TOML = """\
station_id = "wall-1"
state_dir = "state"
runtime_dir = "run"

[cloud]
url = "https://cloud.example"
key_id = "k1"
key_file = "station.key"

[panel]
networks = ["192.168.77.0/24", "192.0.2.0/24"]

[[meters]]
id = "tap-1"
driver = "pulse"
port = "/dev/null"
k_factor = 450
"""
_KNOCK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.settimeout(float(sys.argv[3]))
if len(sys.argv) > 4: s.bind((sys.argv[4], 0))
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    if sys.argv[2] == "80": s.sendall(b"GET / HTTP/1.0\\r\\nHost: 192.168.77.1\\r\\n\\r\\n")
    print(s.recv(12).decode())
except (OSError, ValueError) as fault: print(type(fault).__name__)
"""


def knock(station: Appliance, where: str, address: str, port: int, *, own: str = "", timeout_s: float = 2) -> str:
    """What somebody in that network gets: the first bytes, or the error's name."""
    words = [sys.executable, "-c", _KNOCK, address, str(port), str(timeout_s), *([own] if own else [])]
    return station.from_(where, *words).stdout.strip()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Appliance]:
    """A station whose page is served on every address, so that nothing but the firewall keeps anybody out."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "station.key").write_text("5a" * 32)
    (folder / "station.key").chmod(0o600)
    (folder / "run").mkdir()
    (folder / "station.toml").write_text(STATION_TOML)
    with appliance(tmp_path / "station") as here:
        page = here.started_outside(
            program("aquasmart"), "--config", str(folder / "station.toml"), "panel", "--listen", "0.0.0.0:80",
            log=tmp_path / "panel.log",
        )  # fmt: skip
        try:
            eventually(
                lambda: knock(here, "station", "127.0.0.1", 80, timeout_s=20).startswith("HTTP/1"), "the page answers"
            )
            yield here
        finally:
            page.terminate()
            page.wait(20)


def test_the_page_is_for_the_stations_own_network_only(station: Appliance) -> None:
    # Without the rules both sides reach it: what follows is the rules' doing.
    assert knock(station, "laptop", STATION, 80, timeout_s=20).startswith("HTTP/1")
    assert knock(station, "wan", STATION_ON_WAN, 80, timeout_s=20).startswith("HTTP/1")
    station.run("/usr/sbin/nft", "-f", RULES)
    assert knock(station, "laptop", STATION, 80, timeout_s=20) == "HTTP/1.0 200"
    assert knock(station, "wan", STATION_ON_WAN, 80) == "TimeoutError"
    # Nor by the other side's address of the station, nor with a source address of the own network.
    assert knock(station, "laptop", STATION_ON_WAN, 80) in {"TimeoutError", "OSError"}
    station.from_("wan", "ip", "route", "add", "192.168.77.0/24", "via", STATION_ON_WAN)
    assert knock(station, "wan", STATION, 80) == "TimeoutError"
    station.from_("wan", "ip", "address", "add", "192.168.77.66/32", "dev", "card0")
    assert knock(station, "wan", STATION_ON_WAN, 80, own="192.168.77.66") == "TimeoutError"


def test_what_the_station_asks_is_answered_and_nothing_is_forwarded(station: Appliance, tmp_path: Path) -> None:
    station.run("/usr/sbin/nft", "-f", RULES)
    (tmp_path / "index.html").write_text("cloud")
    with subprocess.Popen(
        ["ip", "netns", "exec", station.networks["wan"], sys.executable, "-m", "http.server", "80", "--bind", WAN,
         "--directory", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as cloud:  # fmt: skip
        try:
            eventually(lambda: knock(station, "station", WAN, 80, timeout_s=20) == "HTTP/1.0 200", "the cloud answers")
            # A laptop at the USB socket does not get out through the station, even where the kernel would forward.
            station.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", check=False)
            station.from_("laptop", "ip", "route", "add", "default", "via", STATION)
            station.from_("wan", "ip", "route", "add", "192.168.77.0/24", "via", STATION_ON_WAN)
            assert knock(station, "laptop", WAN, 80) == "TimeoutError"
        finally:
            cloud.terminate()


def test_loaded_twice_it_is_the_same_and_half_of_it_is_never_there(station: Appliance) -> None:
    station.run("/usr/sbin/nft", "-f", RULES)
    once = station.run("/usr/sbin/nft", "-j", "list", "ruleset").stdout
    station.run("/usr/sbin/nft", "-f", RULES)
    again = station.run("/usr/sbin/nft", "-j", "list", "ruleset").stdout
    kinds = [[next(iter(each)) for each in json.loads(text)["nftables"]] for text in (once, again)]
    assert kinds[0] == kinds[1]
    # A fault in the last line: nft takes a file whole or not at all, and the rules that were there stay.
    station.run(
        "sh",
        "-c",
        f"sed 's/policy drop/policy accept/' {RULES} >/run/bad; echo 'add rule inet nowhere x drop' >>/run/bad",
    )
    assert station.run("/usr/sbin/nft", "-f", "/run/bad", check=False).returncode != 0
    assert station.run("/usr/sbin/nft", "list", "ruleset").stdout.count("policy drop") == 2
    assert LAPTOP.rpartition(".")[0] == STATION.rpartition(".")[0]
