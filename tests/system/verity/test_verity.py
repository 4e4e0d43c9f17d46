"""A verity bundle installed where the kernel can check it, as on a station: an emulated PC with dm-verity.

The container of test_update.py has the kernel of the machine that runs the tests, which may lack it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.powercut.images import MODULES, data_image, initrd, kernel_image, root_image
from tests.update.bundles import HANDLER, make_bundle, make_keys, system_conf

pytestmark = [pytest.mark.e2e, pytest.mark.needs("qemu", "rauc")]
HERE = Path(__file__).parent
MIB = 1 << 20
BACKEND = """\
#!/bin/sh
echo "BOOT LOADER $*" >/dev/ttyS0
case $1 in get-primary) echo A ;; get-state) echo good ;; esac
"""


def await_end(process: subprocess.Popen[bytes], console: Path, timeout_s: float = 400.0) -> str:
    deadline = time.monotonic() + timeout_s
    try:
        while process.poll() is None and "DONE" not in console.read_text(errors="replace"):
            assert time.monotonic() < deadline, console.read_text(errors="replace")[-3000:]
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait(20)
    return console.read_text(errors="replace")


def test_every_block_is_checked_while_it_is_installed(tmp_path: Path) -> None:
    keys, data = make_keys(tmp_path / "keys"), tmp_path / "data"
    data.mkdir()
    image = tmp_path / "image"
    content = os.urandom(2 * MIB)
    image.write_bytes(content)
    whole = make_bundle(tmp_path, keys, number=2, image=image)
    shutil.copy(whole, data / "whole.raucb")
    # One bit of the payload, long after the signature's last look: the signed part is the manifest with the hash tree's
    # root, and says nothing of it until the block is read.
    spoilt = bytearray(whole.read_bytes())
    spoilt[MIB] ^= 1
    (data / "spoilt.raucb").write_bytes(spoilt)
    backend = data / "backend"
    backend.write_text(BACKEND)
    conf = system_conf(
        bootloader="custom",
        device_a="/dev/vdc",
        device_b="/dev/vdd",
        handlers="bootloader-custom-backend=/var/lib/aquasmart/backend\n",
    )
    # The guest's root file system can be read only: what a station has there lies on the data disk.
    conf = conf.replace("/usr/libexec/aquasmart/", "/var/lib/aquasmart/")
    conf = conf.replace("/var/lib/aquasmart-update/rauc", "/run/rauc-data")
    (data / "system.conf").write_text(conf)
    (data / "keyring.pem").write_bytes(keys.keyring.read_bytes())
    shutil.copy(HANDLER, data / "pre-install")
    shutil.copy(HERE / "guest", data / "guest")
    for program in ("backend", "pre-install", "guest"):
        (data / program).chmod(0o755)
    disks = [root_image(), data_image(data, tmp_path / "data.img", 32)]
    for letter in "AB":
        disks.append(tmp_path / f"slot-{letter}.img")
        disks[-1].write_bytes(b"\0" * 4 * MIB)
    console = tmp_path / "console"
    console.touch()
    modules = (*MODULES, "loop", "squashfs", "dm_verity")
    words = [
        "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults",
        "-display", "none", "-no-reboot", "-kernel", kernel_image(), "-initrd", initrd(modules, HERE / "initrd-init"),
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check",
        "-chardev", f"file,id=console,path={console}", "-device", "isa-serial,chardev=console",
    ]  # fmt: skip
    for number, disk in enumerate(disks):
        more = ",readonly=on" if number == 0 else ""
        words += ["-drive", f"file={disk},format=raw,if=none,id=d{number}{more}"]
        words += ["-device", f"virtio-blk-pci,drive=d{number}"]
    said = await_end(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL), console)
    assert re.findall(r"RESULT (\w+) (\d+)", said) == [("spoilt", "1"), ("whole", "0")], said[-3000:]
    # The spoilt one was found out by the kernel and never given to the boot loader; the whole one is there, bit by bit.
    assert "BOOT LOADER set-primary B" not in said[: said.index("RESULT spoilt")]
    assert "BOOT LOADER set-primary B" in said[said.index("RESULT spoilt") :]
    assert disks[3].read_bytes()[: len(content)] == content
    assert disks[2].read_bytes() == b"\0" * 4 * MIB, "the slot that runs is not touched"
