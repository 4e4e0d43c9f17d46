"""An update by RAUC's own service: a good one is tried, proves itself and stays; a bad one goes back by itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import eventually
from tests.system import report
from tests.system.machines import Cable
from tests.system.station import READER, SYNC, Cloud, Station
from tests.update.bundles import Keys, make_bundle, make_keys
from tests.update.slots import GOOD, SlotMachine, slot_image

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nspawn", "loop", "rauc")]


def bundle_format() -> str:
    """verity, where this machine's kernel can check such a bundle while it is installed; else plain, for this test's
    configuration only: the format says how RAUC reads a bundle, not what is done with it."""
    return "verity" if "device-mapper" in Path("/proc/misc").read_text() else "plain"


class Fleet:
    """One station with two slots, and who makes images and bundles for it."""

    def __init__(self, machine: SlotMachine, station: Station, base: Path, keys: Keys, folder: Path) -> None:
        self.machine, self.station, self.base, self.keys, self.folder = machine, station, base, keys, folder

    def image(self, number: int, **more: Any) -> Path:
        target = self.folder / f"image-{number}.ext4"
        formats = bundle_format()
        return slot_image(
            target, self.base, self.keys, number=number, version=f"{number}.0.0", devices=self.machine.devices,
            bundle_formats=formats, **more,
        )  # fmt: skip

    def bundle(self, number: int, keys: Keys | None = None, **more: Any) -> str:
        """A bundle on the station; its path there."""
        made = make_bundle(
            self.folder / f"bundle-{number}-{len(list(self.folder.iterdir()))}", keys or self.keys, number=number,
            version=f"{number}.0.0", image=self.image(number, **more), bundle_format=bundle_format(),
        )  # fmt: skip
        # Beyond the container's reach is the disk that its data partition lies on, and RAUC wants to see the disk of a
        # bundle, or a file system in memory.
        place = f"var/lib/aquasmart-update/{number}.raucb"
        shutil.move(made, self.machine.root / place)
        self.machine.run("mv", f"/{place}", f"/run/{number}.raucb")
        return f"/run/{number}.raucb"

    def install(self, bundle: str, *words: str) -> tuple[int, dict[str, Any]]:
        done = self.machine.run("aquasmart", "update", "install", bundle, "--json", *words, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.machine.run("aquasmart", "update", "status", "--json").stdout))

    def await_good(self) -> dict[str, Any]:
        try:
            eventually(lambda: self.status()["marked_good"], "the image is marked good")
        except AssertionError as fault:
            fault.add_note(self.station.journal("-u", "aquasmart-mark-good") + self.station.tails())
            raise
        return self.status()

    def reboot(self) -> None:
        self.machine.power_off()
        self.machine.boot()
        self.station.await_up(READER, SYNC)


@pytest.fixture
def fleet(installed: Path, cloud: Cloud, tmp_path: Path) -> Iterator[Fleet]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    name = f"aq{os.getpid() % 100_000}u"
    with ExitStack() as stack:
        cable = Cable(name, worker * 40 + 39)
        stack.callback(cable.remove)
        cable.lay()
        machine = SlotMachine(installed, tmp_path, name, cable)
        stack.callback(machine.remove)
        station = Station(machine, cloud, name)
        station.cable = cable
        with machine.provisioning():
            (machine.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
            station.provision(cable.host_address)
        machine.own_data()
        made = Fleet(machine, station, installed, make_keys(tmp_path / "keys"), tmp_path)
        machine.flash("A", made.image(1))
        yield made


def blind(package: Path) -> None:
    """A new version whose driver waits for another form of the meter's answer."""
    driver = package / "meters/pulse.py"
    text = driver.read_text()
    assert text.count('rb"F1') == 1
    driver.write_text(text.replace('rb"F1', 'rb"F2'))


def test_a_good_update_stays_and_a_bad_one_goes_back(fleet: Fleet, record_property: object) -> None:
    machine, station = fleet.machine, fleet.station
    machine.boot()
    station.await_up(READER, SYNC)
    station.begin()
    status = fleet.await_good()
    assert (status["image"]["number"], status["highest_good"], status["boot"]) == (1, 1, "normal")
    # A boot that is not counted writes nothing to the boot loader's environment.
    assert machine.left("A") == GOOD

    # Not during a pour; the same by number; not what another has signed.
    second = fleet.bundle(2)
    status_code, said = fleet.install(second)
    assert status_code == 75, said
    assert said["reasons"] == [{"code": "pour", "text": "water flows at tap-1", "final": False}]
    station.shut()
    status_code, said = fleet.install(fleet.bundle(7, make_keys(fleet.folder / "foreign", "foreign")))
    assert (status_code, said["installed"]) == (1, False)
    assert "signature" in said["fault"].lower()
    assert (machine.order, machine.left("B")) == ("A B", "0")

    # The good one: installed into the other slot, tried, marked, kept.
    assert fleet.install(second) == (0, {"installed": True, "number": 2, "version": "2.0.0"})
    assert (machine.order.split(), machine.left("A"), machine.left("B")) == (["B", "A"], GOOD, "3")
    fleet.reboot()
    assert (machine.slot, machine.trial) == ("B", "fallback")
    assert machine.left("B") == "2"
    status = fleet.await_good()
    assert (status["image"]["number"], status["highest_good"], status["booted"]) == (2, 2, "B")
    assert machine.left("B") == GOOD
    station.flow("steady")
    station.await_events()

    # What is older does not come in, neither here nor by RAUC's own command.
    station.shut()
    first = fleet.bundle(1)
    status_code, said = fleet.install(first)
    assert (status_code, [reason["code"] for reason in said["reasons"]]) == (1, ["older"])
    by_hand = machine.run("rauc", "install", first, check=False)
    assert by_hand.returncode != 0
    assert "older than 2" in by_hand.stdout + by_hand.stderr + station.journal("-u", "rauc")
    assert machine.left("A") == GOOD

    # The bad one: it does not read the meter. Not marked good; back by itself, and everything counted is there.
    third = fleet.bundle(3, change=blind, within_s=6)
    shown = machine.run("aquasmart", "update", "install", third).stdout.splitlines()
    assert shown[-1] == "version 3.0.0 (number 3) is in the other slot; `reboot` tries it"
    assert [line for line in shown if line.startswith("100 %")], shown
    station.flow("steady")
    station.await_events()
    machine.power_off()
    machine.boot()
    assert (machine.slot, machine.trial) == ("A", "fallback")
    machine.await_restart()
    assert (machine.left("A"), machine.left("B")) == ("0", GOOD)
    machine.boot()
    assert (machine.slot, machine.trial) == ("B", "")
    station.await_up(READER, SYNC)
    status = fleet.await_good()
    assert (status["image"]["number"], status["highest_good"]) == (2, 2)
    assert status["fell_back"] == {"number": 3, "version": "3.0.0"}
    station.await_events()
    report.note(
        record_property, "an update that counts, one that is older, one that does not read the meter",
        cycles=4, volume_ul=station.settle(), measured=f"{bundle_format()} bundles; back in the old slot by itself",
    )  # fmt: skip
