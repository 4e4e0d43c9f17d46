"""A card's image as a technician's laptop sees it: its partitions, a file on the boot partition, a slot's file system.

And another version of that file system, as a later build would have it, by e2fsprogs' own editor. Nothing is mounted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tests.update.bundles import run
from tests.yocto.disk import Partition, partitions

BOOT, SLOT_A, SLOT_B, DATA = range(4)
IMAGE_JSON = "/usr/share/aquasmart/image.json"
MARK_GOOD = "/usr/lib/systemd/system/aquasmart-mark-good.service.d"


class NotAnImage(Exception):
    """The file is no image of this layer; the message says why."""


@dataclass(frozen=True)
class Card:
    """A whole card's image, to be written to."""

    path: Path
    parts: list[Partition]

    @property
    def boot(self) -> str:
        """As mtools name it."""
        return f"{self.path}@@{self.parts[BOOT].start}"

    def put(self, file: Path, name: str) -> None:
        """A file onto the boot partition."""
        run("mcopy", "-o", "-i", self.boot, file, f"::{name}")

    def get(self, name: str) -> str:
        """A file of the boot partition; empty where there is none."""
        done = subprocess.run(["mtype", "-i", self.boot, f"::{name}"], capture_output=True, text=True)
        return done.stdout

    def slot(self, target: Path, number: int = SLOT_A) -> Path:
        """The file system of a slot, as small as it can be."""
        part = self.parts[number]
        words = [f"if={self.path}", f"of={target}", "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes"]
        run("dd", *words, f"skip={part.start}", f"count={part.size}", "status=none")
        subprocess.run(["e2fsck", "-fy", str(target)], capture_output=True)
        run("resize2fs", "-M", target)
        return target


def card_from(image: Path, target: Path, size_mib: int) -> Card:
    """A card of `size_mib` with the image on it, unpacked where it is packed. Raises NotAnImage."""
    if image.suffix == ".zst":
        run("zstd", "--quiet", "--decompress", "--force", "--sparse", image, "-o", target)
    else:
        run("cp", "--sparse=always", image, target)
    if target.stat().st_size > size_mib << 20:
        raise NotAnImage(f"{image} is larger than a card of {size_mib} MiB")
    with target.open("r+b") as file:
        file.truncate(size_mib << 20)
    try:
        found = partitions(target)
    except subprocess.CalledProcessError as fault:
        raise NotAnImage(f"{image} has no partition table: {fault.stderr.strip()}") from fault
    labels = [part.label for part in found]
    if len(found) != 4 or labels[BOOT] != "boot" or labels[DATA] != "aquasmart-data":
        raise NotAnImage(f"{image} has the partitions {labels}, not those of an AquaSmart card")
    return Card(target, found)


def content(image: Path, name: str) -> bytes:
    """A file in an ext4 image. FileNotFoundError where there is none."""
    done = subprocess.run(["debugfs", "-R", f"cat {name}", str(image)], capture_output=True)
    if b"File not found" in done.stderr:
        raise FileNotFoundError(name)
    return done.stdout


def replace(image: Path, changes: dict[str, bytes], scratch: Path) -> None:
    """Files in an ext4 image, in the place of those of these names; folders that lack are made. Owned by root, 0644."""
    scratch.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (name, data) in enumerate(changes.items()):
        file = scratch / str(number)
        file.write_bytes(data)
        folders = [str(folder) for folder in reversed(PurePosixPath(name).parents)][1:]
        lines += [f"mkdir {folder}" for folder in folders]
        lines += [f"rm {name}", f"write {file} {name}", f"sif {name} mode 0100644"]
        lines += [f"sif {name} uid 0", f"sif {name} gid 0"]
    script = scratch / "script"
    script.write_text("".join(f"{line}\n" for line in lines))
    run("debugfs", "-w", "-f", script, image)
    for name, data in changes.items():
        if content(image, name) != data:
            raise NotAnImage(f"{name} cannot be changed in {image}")
    shutil.rmtree(scratch)


def image_json(image: Path) -> dict[str, Any]:
    """Which version an image is, in its own words. Raises NotAnImage."""
    try:
        return dict(json.loads(content(image, IMAGE_JSON)))
    except (FileNotFoundError, ValueError) as fault:
        raise NotAnImage(f"{image} does not say which version it is: {IMAGE_JSON}: {fault}") from fault


def numbered(image: Path, number: int) -> dict[str, bytes]:
    """The change that makes it a later version."""
    said = image_json(image) | {"number": number, "version": f"{number}.0.0"}
    return {IMAGE_JSON: json.dumps(said).encode() + b"\n"}


def blind(image: Path, package: str, within_s: int) -> dict[str, bytes]:
    """The change that makes its reader wait for another form of the meter's answer; its trial is `within_s` long.

    `package`: the station's Python package in the image.
    """
    name = f"{package}/meters/pulse.py"
    text = content(image, name).decode()
    if text.count('rb"F1') != 1:
        raise NotAnImage(f"{name} is not the driver that this test knows how to blind")
    drop_in = f"[Service]\nExecStart=\nExecStart=/usr/bin/aquasmart update mark-good --within {within_s}\n"
    return {name: text.replace('rb"F1', 'rb"F2').encode(), f"{MARK_GOOD}/quick.conf": drop_in.encode()}


def package_in(image: Path) -> str:
    """Where the station's Python package lies in an image. Raises NotAnImage."""
    for name in ("/usr/lib/python3.12/site-packages", "/usr/lib/python3/dist-packages"):
        try:
            content(image, f"{name}/aquasmart_station/meters/pulse.py")
        except FileNotFoundError:
            continue
        return f"{name}/aquasmart_station"
    raise NotAnImage(f"{image} has no aquasmart_station")
