"""What an image goes through, step by step; each step is told with its time, and any that fails ends it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from demo.specs import MeterCount
from tests.image import card as cards
from tests.image.board import CLOUD_ADDRESS, METER, METER_PORT, STICK, Board
from tests.image.card import Card
from tests.image.console import Console, Unheard
from tests.integration.world import eventually
from tests.system.emulated.meter import HostMeter
from tests.system.station import K_FACTOR, START, TAP, Cloud
from tests.update.bundles import Keys, make_bundle, make_keys, run

STATION, PIN = "image-smoke", "271828"
CARD_MIB = 4096
GROWN_MIB = CARD_MIB - 2048 - 512
"""What is free on the data partition at least once it is grown; as flashed it has 128."""
BOOT_S, TRIAL_S, INSTALL_S = 600.0, 900.0, 1200.0
"""An emulated board's patience."""
BLIND_FOR_S = 90
"""How long the bad version is given; as baked it would be ten minutes."""
_CONFIG = """\
station_id = "{station}"
[cloud]
url = "http://{address}:{port}"
key_id = "{key_id}"
key = "{key}"
[sync]
linger_s = 0.5
heartbeat_s = 5
[access]
pin = "{pin}"
"""


def _window() -> str:
    """A maintenance window whose first half, in which each station has its own time, has just passed."""
    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=3), now + timedelta(hours=3)
    return f"{begin:%H:%M}-{end:%H:%M}"


@dataclass
class Told:
    """What was done so far."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    show: Callable[[str], None] = print

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[dict[str, Any]]:
        entry: dict[str, Any] = {"step": what}
        began = time.monotonic()
        self.show(f"        {what} …")
        try:
            yield entry
        except BaseException:
            self.show(f"FAILED  {what}, after {time.monotonic() - began:.0f} s")
            raise
        entry["seconds"] = round(time.monotonic() - began, 1)
        self.steps.append(entry)
        more = "".join(f", {name} {value}" for name, value in entry.items() if name not in {"step", "seconds"})
        self.show(f"passed  {what}: {entry['seconds']:.0f} s{more}")


class Smoke:
    """One image's life. `folder` takes everything that is made."""

    def __init__(self, image: Path, firmware: Path, keys: Keys, folder: Path, told: Told) -> None:
        self.folder, self.keys, self.told = folder, keys, told
        self.image, self.firmware = image, firmware
        self.console: Console | None = None

    def run(self) -> None:
        folder, told = self.folder, self.told
        with told.step("a card, and bundles of later versions of its image") as entry:
            card = cards.card_from(self.image, folder / "card.img", CARD_MIB)
            stick = self._stick(card)
            entry["number"] = self.number
        with contextlib.ExitStack() as stack:
            self.cloud = Cloud(folder / "cloud")
            stack.callback(self.cloud.close)
            self.books = self.cloud.books(STATION)
            self.meter = HostMeter(folder, METER)
            stack.callback(self.meter.stop)
            self.meter.flow("idle", 8.0)
            self.board = Board(folder, self.firmware, card.path, stick)
            stack.callback(self._pull_the_plug)
            self._first_boot(card)
            self._count()
            self._closed_to_the_wan()
            self._refused()
            self._update()
            self._roll_back()
            rollout = self._offered()
            self._power_cut()
            self._rolled_out(rollout)
            self._settle()

    # The stick, made before anything is booted

    def _stick(self, card: Card) -> Path:
        """Bundles: the number above the image's, one of another's signature, the blind one, and one that is too old."""
        slot = card.slot(self.folder / "slot.ext4")
        package = cards.package_in(slot)
        self.number = int(cards.image_json(slot)["number"])
        good, bad, offered = self.number + 1, self.number + 2, self.number + 3
        foreign = make_keys(self.folder / "foreign-keys", "foreign")
        compatible = str(cards.image_json(slot)["compatible"])
        made = {
            "good": self._bundle(slot, good, self.keys, {}),
            "bad": self._bundle(slot, bad, self.keys, cards.blind(slot, package, BLIND_FOR_S)),
            "foreign": make_bundle(self.folder / "foreign", foreign, number=good, compatible=compatible),
            "older": make_bundle(self.folder / "older", self.keys, number=self.number, compatible=compatible),
        }
        stick = self.folder / "stick.fat"
        mib = sum(path.stat().st_size for path in made.values()) // (1 << 20) + 64
        run("truncate", f"--size={mib}M", stick)
        run("mkfs.vfat", "-F", "32", "-n", "UPDATES", stick)
        for name, path in made.items():
            run("mcopy", "-i", stick, path, f"::{name}.raucb")
            path.unlink()
        self.offered = self._bundle(slot, offered, self.keys, {})
        """By no stick: what the cloud rolls out."""
        slot.unlink()
        return stick

    def _bundle(self, slot: Path, number: int, keys: Keys, changes: dict[str, bytes]) -> Path:
        image = self.folder / f"image-{number}.ext4"
        run("cp", "--sparse=always", slot, image)
        # Room for what is added; a slot has it.
        run("resize2fs", image, f"{(image.stat().st_size >> 20) + 16}M")
        cards.replace(image, cards.numbered(image, number) | changes, self.folder / "changes")
        compatible = str(cards.image_json(slot)["compatible"])
        folder = self.folder / f"bundle-{number}"
        return make_bundle(folder, keys, number=number, version=f"{number}.0.0", compatible=compatible, image=image)

    # Power and the serial line

    def _pull_the_plug(self) -> None:
        self.board.power_off()
        if self.console is not None:
            self.console.close()
        self.console = None

    def _sign_in(self, timeout_s: float = BOOT_S) -> Console:
        assert self.console is not None
        self.console.sign_in("technician", PIN, timeout_s)
        return self.console

    def _status(self) -> dict[str, Any]:
        assert self.console is not None
        return dict(self.console.ask_json("aquasmart status --json"))

    def _update_status(self) -> dict[str, Any]:
        assert self.console is not None
        return dict(self.console.ask_json("aquasmart update status --json"))

    def _await_good(self, timeout_s: float = TRIAL_S) -> dict[str, Any]:
        eventually(lambda: self._update_status()["marked_good"], "the image is marked good", timeout_s, 5.0)
        return self._update_status()

    def _await_delivered(self, events: int, timeout_s: float = 180.0) -> None:
        have = self.books.events()
        eventually(lambda: self.books.events() >= have + events, f"{events} more events in the cloud", timeout_s)

    # Steps

    def _first_boot(self, card: Card) -> None:
        with self.told.step("provisioned from the boot partition, booted, signed in with the PIN") as entry:
            key_id, key = self.cloud.add(STATION)
            words = {"address": CLOUD_ADDRESS, "port": self.cloud.port, "key_id": key_id, "key": key, "pin": PIN}
            file = self.folder / "aquasmart.toml"
            file.write_text((_CONFIG + TAP).format(station=STATION, meter_port=METER_PORT, **words))
            card.put(file, "aquasmart.toml")
            self.console = self.board.power_on()
            self.console.wait(r"aquasmart: slot A, good", 120.0)
            self._sign_in()
            slots = self._update_status()
            assert (slots["booted"], slots["boot"], slots["image"]["number"]) == ("A", "normal", self.number), slots
            # Its secrets are gone from the card: read while it runs, as somebody who takes the card out would.
            eventually(lambda: key not in card.get("aquasmart.toml"), "the key is wiped from the boot partition", 60.0)
            assert PIN not in card.get("aquasmart.toml")
            assert f"station      {STATION}" in card.get("aquasmart-provision.txt")
            said = self.console.ask("systemctl status aquasmart-boot-writable.service")
            assert "inactive (dead)" in said, f"the boot partition is still writable:\n{said}"
            entry["version"] = slots["image"]["version"]

    def _count(self) -> None:
        with self.told.step("reads its meter, delivers, marks itself good"):
            eventually(lambda: self.books.events() > 0, "the first events in the cloud", BOOT_S)
            eventually(lambda: self._meter_state()["state"] == "ok", "the meter is read", 120.0, 3.0)
            self.meter.flow("steady", 8.0)
            self._await_delivered(20)
            self._await_good()
        with self.told.step("the data partition has grown to the card") as entry:
            room_mib = self._status()["disk"]["free_bytes"] >> 20
            entry["mib"] = room_mib
            assert room_mib > GROWN_MIB, room_mib

    def _meter_state(self) -> dict[str, Any]:
        return dict(self._status()["meters"][0])

    def _closed_to_the_wan(self) -> None:
        with self.told.step("nothing answers from the WAN"):
            for there, here in self.board.wan.items():
                with socket.create_connection(("127.0.0.1", here), timeout=5) as line:
                    line.settimeout(5)
                    line.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    # QEMU takes the connection itself and hands it on; what is not answered within stays silent.
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        assert line.recv(1) == b"", f"port {there} answers"

    def _install(self, name: str) -> str:
        assert self.console is not None
        return self.console.ask(f"aquasmart update install {STICK}/{name}.raucb", INSTALL_S)

    def _shut(self) -> None:
        self.meter.flow("idle", 8.0)
        eventually(lambda: self._meter_state()["flow_ul_s"] == 0, "the tap is shut", 120.0, 3.0)

    def _refused(self) -> None:
        with self.told.step("refuses a bundle during a pour, another's signature, an older one"):
            said = self._install("good")
            assert "water flows at tap-1" in said, said
            self._shut()
            said = self._install("foreign")
            assert "signature" in said.lower(), said
            said = self._install("older")
            assert "in the other slot" not in said, said
            assert str(self.number) in said, said
            slots = self._update_status()
            assert slots["booted"] == "A", slots

    def _update(self) -> None:
        with self.told.step("installs a later version into the other slot"):
            said = self._install("good")
            assert "is in the other slot" in said, said
        with self.told.step("tries it, and keeps it once it counts") as entry:
            assert self.console is not None
            self.console.type("reboot")
            self.console.wait(r"aquasmart: slot B, on trial, try 3", BOOT_S)
            self._sign_in()
            self.meter.flow("steady", 8.0)
            slots = self._await_good()
            assert (slots["booted"], slots["image"]["number"]) == ("B", self.number + 1), slots
            assert slots["highest_good"] == self.number + 1, slots
            self._await_delivered(20)
            entry["number"] = slots["image"]["number"]

    def _roll_back(self) -> None:
        with self.told.step("installs a version that does not read the meter"):
            self._shut()
            said = self._install("bad")
            assert "is in the other slot" in said, said
        with self.told.step("goes back to the version before by itself") as entry:
            assert self.console is not None
            self.console.type("reboot")
            self.meter.flow("steady", 8.0)
            self.console.wait(r"aquasmart: slot A, on trial, try 3", BOOT_S)
            self.console.wait(r"aquasmart: slot B, good", BOOT_S + TRIAL_S)
            self._sign_in()
            slots = self._await_good()
            assert (slots["booted"], slots["image"]["number"]) == ("B", self.number + 1), slots
            assert slots["fell_back"]["number"] == self.number + 2, slots
            self._await_delivered(20)
            entry["number"] = slots["image"]["number"]

    def _power_cut(self) -> None:
        with self.told.step("the plug is pulled while water flows; the next boot is not counted"):
            self._pull_the_plug()
            self.console = self.board.power_on()
            self.console.wait(r"aquasmart: slot B, good", 120.0)
            self._sign_in()
            self._await_delivered(20, BOOT_S)

    def _operator(self, *words: str) -> dict[str, Any]:
        """What an operator does at the cloud."""
        return dict(json.loads(self.cloud.site.cloud(*words, "--json")))

    def _offered(self) -> str:
        """A roll-out of a still later version. A station asks for it when it starts, and then once an hour."""
        number = self.number + 3
        with self.told.step("an operator starts a roll-out"):
            compatible = str(self._update_status()["image"]["compatible"])
            words = ("--version", f"{number}.0.0", "--number", str(number), "--compatible", compatible)
            bundle = self._operator("bundle", "add", str(self.offered), *words)
            self._operator("station", "group", STATION, "smoke")
            started = self._operator("rollout", "start", bundle["sha256"], "--group", "smoke", "--window", _window())
            return str(started["rollout_id"])

    def _rolled_out(self, rollout: str) -> None:
        number = self.number + 3
        console = self.console
        assert console is not None
        with self.told.step("it waits while water runs"):
            other = "B" if self._update_status()["booted"] == "A" else "A"
            agent = "systemctl status aquasmart-update.service"
            eventually(lambda: "water runs" in console.ask(agent), "the agent waits for the tap", 240.0, 5.0)
        with self.told.step("fetched once the tap is shut, installed, started"):
            self.meter.flow("idle", 8.0)
            eventually(lambda: self._told_of(rollout, "downloaded"), "the bundle is fetched", INSTALL_S, 3.0)
            console.wait(rf"aquasmart: slot {other}, on trial, try 3", INSTALL_S + BOOT_S)
        with self.told.step("and kept, and told to the cloud, with nobody there") as entry:
            self.meter.flow("steady", 8.0)
            eventually(lambda: self._told_of(rollout, "good"), "the cloud knows it as good", BOOT_S + TRIAL_S, 3.0)
            self._sign_in()
            slots = self._update_status()
            assert (slots["booted"], slots["image"]["number"], slots["marked_good"]) == (other, number, True), slots
            assert self._operator("rollout", "show", rollout)["state"] == "finished"
            self._await_delivered(20)
            entry["number"] = number

    def _told_of(self, rollout: str, state: str) -> bool:
        """Whether the station has told the cloud that it was so far."""
        found = self._operator("operations", "list", STATION)["operations"]
        results = [each["payload"] for each in found if each["type"] == "update_result"]
        return any(str(each["rollout_id"]) == rollout and each["state"] == state for each in results)

    def _settle(self) -> None:
        with self.told.step("meter = log = cloud") as entry:
            self._shut()
            counted: MeterCount = self.meter.counted()
            price = Fraction(1_000_000, K_FACTOR)
            meter_ul = int(counted.lifetime * price) - int(START * price)
            with contextlib.suppress(AssertionError):
                eventually(lambda: self.books.volume_ul() == meter_ul, "the books hold it", 120.0)
            log_ul = self._status()["log_ul"]
            assert (log_ul, self.books.volume_ul()) == (meter_ul, meter_ul), (meter_ul, log_ul, self.books.volume_ul())
            assert self.books.differences() == {}
            entry |= {"litres": round(meter_ul / 1e6, 3), "events": self.books.events()}
            assert self.console is not None
            self.console.type("poweroff")
            with contextlib.suppress(Unheard):
                self.console.wait("reboot: Power down", 120.0)
