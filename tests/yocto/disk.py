"""The card's layout made for real: wic, as poky has it, writes a disk from our .wks and stand-ins for what is baked.

No build is needed: wic reads its variables from a file, and takes two folders, one for the root file system and one for
what is deployed. What comes out is looked at with sfdisk and blkid.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .recipes import LAYER, layout

WKS = {"raspberrypi": "aquasmart-rpi", "beaglebone": "aquasmart-bbb", "qemu": "aquasmart-qemu"}
MIB = 1024 * 1024
TOOLS = ("parted", "mkfs.ext4", "mkfs.vfat", "mcopy", "sfdisk", "blkid", "dumpe2fs")


@dataclass(frozen=True)
class Partition:
    """One partition of a disk image, in bytes."""

    start: int
    size: int
    label: str
    kind: str


def template(machine: str) -> Path:
    return next(LAYER / f"wic/{name}.wks.in" for prefix, name in WKS.items() if machine.startswith(prefix))


def filled(machine: str) -> str:
    """The .wks of a machine, with the class's figures in it. KeyError for one that the class does not have."""
    figures = layout()
    return re.sub(r"\$\{(\w+)\}", lambda match: figures[match[1]], template(machine).read_text(encoding="utf-8"))


def lacking() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in TOOLS if not shutil.which(name, path=path)]


def write_disk(poky: Path, machine: str, folder: Path, boot_files: list[str]) -> Path:
    """A disk image, made by wic. `boot_files`: names that the boot partition gets. Raises CalledProcessError."""
    root, deploy, variables, out = (folder / name for name in ("rootfs", "deploy", "vars", "out"))
    for place in (root / "boot", root / "data", root / "etc", deploy, variables, out):
        place.mkdir(parents=True, exist_ok=True)
    (root / "boot/Image").write_bytes(b"kernel" * 4096)
    (root / "etc/os-release").write_text("ID=aquasmart\n", encoding="ascii")
    for name in boot_files:
        (deploy / name).write_bytes(name.encode() * 512)
    wks = folder / f"{machine}.wks"
    wks.write_text(filled(machine), encoding="utf-8")
    values = {
        "IMAGE_BOOT_FILES": " ".join(boot_files), "IMAGE_ROOTFS": str(root), "DEPLOY_DIR_IMAGE": str(deploy),
        "STAGING_DATADIR": str(deploy), "RECIPE_SYSROOT_NATIVE": "/", "BBLAYERS": str(LAYER), "TARGET_SYS": "none",
        "HOSTTOOLS_DIR": "/usr/bin",
    }  # fmt: skip
    (variables / "image.env").write_text("".join(f'{k}="{v}"\n' for k, v in values.items()), encoding="utf-8")
    environment = os.environ | {
        "BUILDDIR": str(folder),
        "PATH": f"{poky / 'scripts'}:{poky / 'bitbake/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    words = ["wic", "create", str(wks), "-e", "image", "-v", str(variables), "-o", str(out)]
    subprocess.run(words, check=True, capture_output=True, text=True, env=environment, cwd=folder)
    return next(out.glob("*.direct"))


def partitions(image: Path) -> list[Partition]:
    """What a disk image holds, by its table and by its file systems' own labels."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    said = subprocess.run(
        ["sfdisk", "--json", str(image)], check=True, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    found = []
    for entry in json.loads(said.stdout)["partitiontable"]["partitions"]:
        start, size = entry["start"] * 512, entry["size"] * 512
        probe = subprocess.run(
            ["blkid", "--probe", "--offset", str(start), "--size", str(size), "-o", "export", str(image)],
            capture_output=True, text=True, env=os.environ | {"PATH": path},
        )  # fmt: skip
        told = dict(line.split("=", 1) for line in probe.stdout.splitlines() if "=" in line)
        found.append(Partition(start, size, told.get("LABEL", ""), told.get("TYPE", "")))
    return found


def faults(found: list[Partition]) -> list[str]:
    """Where a disk is not as aquasmart-ab.bbclass says; empty is good."""
    figures = layout()
    wanted = [
        (figures["AQUASMART_LABEL_BOOT"], "vfat", figures["AQUASMART_BOOT_MIB"]),
        (figures["AQUASMART_LABEL_A"], "ext4", figures["AQUASMART_SLOT_MIB"]),
        (figures["AQUASMART_LABEL_B"], "ext4", figures["AQUASMART_SLOT_MIB"]),
        (figures["AQUASMART_LABEL_DATA"], "ext4", figures["AQUASMART_DATA_MIB"]),
    ]
    told = [f"{len(found)} partitions, not 4"] if len(found) != len(wanted) else []
    for number, (partition, (label, kind, mib)) in enumerate(zip(found, wanted, strict=False), 1):
        if (partition.label, partition.kind, partition.size) != (label, kind, int(mib) * MIB):
            told.append(f"partition {number} is {partition}, not {label}, {kind}, {mib} MiB")
    end = max(int(figures[name], 16) for name in ("AQUASMART_ENV_OFFSET", "AQUASMART_ENV_OFFSET_REDUND"))
    if found and found[0].start < end + int(figures["AQUASMART_ENV_SIZE"], 16):
        told.append(f"the first partition begins at {found[0].start}, over the bootloader's environment")
    return told
