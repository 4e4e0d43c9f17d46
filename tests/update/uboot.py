"""A board whose boot loader is the real U-Boot, in QEMU: a disk with our boot script, two slots, and its environment.

The script is the one of qemuarm64. On a virtio disk U-Boot saves no environment by itself, so the script reads and
writes it, where the other boards have it; there `saveenv` stands in the place of that, and makes two copies.

A slot's kernel is a few instructions that say which slot they came from, print the device tree that they were given
(with the kernel's command line in it), and restart the board: one run goes through as many boots as it is let.
"""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.update.bundles import LAYER, run

FIRMWARE = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
SCRIPT = LAYER / "recipes-bsp" / "aquasmart-boot-script" / "files" / "boot.cmd.in"
RECIPE = SCRIPT.parent.parent / "aquasmart-boot-script.bb"
_MIB = 1 << 20
_ENV_AT, _ENV_BYTES = 1 * _MIB, 0x10000
_BLOCKS = f"{_ENV_AT // 512:#x} {_ENV_BYTES // 512:#x}"

GOOD, TRIES = "9", "3"
WORDS = {
    "LOADENV": f"virtio read 0x48000000 {_BLOCKS} && env import -c 0x48000000 {_ENV_BYTES:#x}",
    "SAVEENV": f"env export -c -s {_ENV_BYTES:#x} 0x48000000 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT machine_id "
    f"&& virtio write 0x48000000 {_BLOCKS}",
    "SETUP": "", "FDT": 'aq_fdt="${fdt_addr}"', "BOOTARGS": "console=ttyAMA0 panic=10", "BOOTCMD": "booti",
    "KERNEL": "Image", "DISK": "virtio 0", "PART_A": "2", "PART_B": "3", "DEV_A": "/dev/vda2", "DEV_B": "/dev/vda3",
    "GOOD": GOOD, "TRIES": TRIES,
}  # fmt: skip
"""What the recipe fills in for qemuarm64."""


def boot_script() -> str:
    """The script for this board, as the recipe makes it."""
    text = SCRIPT.read_text()
    for word, value in WORDS.items():
        text = text.replace(f"@{word}@", value)
    return text


def firmware(folder: Path) -> Path:
    """U-Boot as Debian has it, but it does not wait two seconds for a key: a word of its built-in environment."""
    content = FIRMWARE.read_bytes()
    assert content.count(b"bootdelay=2\0") == 1
    target = folder / "u-boot.bin"
    target.write_bytes(content.replace(b"bootdelay=2\0", b"bootdelay=0\0"))
    return target


def kernel(says: str) -> bytes:
    """An arm64 kernel image that tells `says` and its device tree through the first serial port (PL011 of QEMU's virt)
    and restarts the board (PSCI SYSTEM_RESET). By Documentation/arch/arm64/booting.rst of Linux."""
    message = says.encode() + b"\0"
    message += b"\0" * (-len(message) % 4)
    code = [
        0xD2A12001,  # movz x1, #0x0900, lsl #16    the port
        0xB9400403,  # ldr  w3, [x0, #4]            the tree's size, big-endian
        0x5AC00863,  # rev  w3, w3
        0x10000000 | 12 << 5 | 4,  # adr  x4, the message: twelve instructions on
        0x38401482,  # ldrb w2, [x4], #1
        0x34000062,  # cbz  w2, three on
        0x39000022,  # strb w2, [x1]
        0x17FFFFFD,  # b    three back
        0x38401402,  # ldrb w2, [x0], #1
        0x39000022,  # strb w2, [x1]
        0x71000463,  # subs w3, w3, #1
        0x54FFFFA1,  # b.ne three back
        0x52800120,  # movz w0, #9
        0x72B08000,  # movk w0, #0x8400, lsl #16
        0xD4000002,  # hvc  #0
    ]
    body = struct.pack(f"<{len(code)}I", *code) + message
    header = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 64 + len(body), 0xA, 0, 0, 0, b"ARM\x64", 0)
    return header + body


def read_environment(disk: Path) -> dict[str, str]:
    """What was saved. Empty where there is nothing whole."""
    with disk.open("rb") as file:
        file.seek(_ENV_AT)
        raw = file.read(_ENV_BYTES)
    if zlib.crc32(raw[4:]) != struct.unpack("<I", raw[:4])[0]:
        return {}
    entries = raw[4:].split(b"\0\0", 1)[0].split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def write_environment(disk: Path, values: dict[str, str]) -> None:
    """As `fw_setenv` would: RAUC's part."""
    data = b"".join(f"{name}={value}\0".encode() for name, value in sorted(values.items())).ljust(_ENV_BYTES - 4, b"\0")
    with disk.open("r+b") as file:
        file.seek(_ENV_AT)
        file.write(struct.pack("<I", zlib.crc32(data)) + data)


SILENT_S = 20.0
IN_ITS_MEMORY = "DRAM:  256 MiB"
"""What U-Boot says before it sets up its memory."""


class Board:
    """A board with its disk. `folder` is its own."""

    def __init__(self, folder: Path, *, slot_b: bool = True) -> None:
        self.disk, self._serial = folder / "disk.img", folder / "serial"
        self._firmware = firmware(folder)
        (folder / "boot").mkdir()
        (folder / "boot.cmd").write_text(boot_script())
        run("mkimage", "-A", "arm64", "-T", "script", "-C", "none", "-d", folder / "boot.cmd", folder / "boot/boot.scr")
        kernels: dict[int, bytes] = {2: kernel("\nthe kernel of slot A\n")}
        if slot_b:
            kernels[3] = kernel("\nthe kernel of slot B\n")
        self._make_disk(folder, kernels)

    def _make_disk(self, folder: Path, kernels: dict[int, bytes]) -> None:
        """Three partitions of 8 MiB from 4 MiB on. The first one is ext4 here, which needs no other tool; U-Boot looks
        for boot.scr in both kinds alike."""
        parts = {1: folder / "boot"}
        for number, content in kernels.items():
            parts[number] = folder / f"slot-{number}"
            (parts[number] / "boot").mkdir(parents=True)
            (parts[number] / "boot/Image").write_bytes(content)
        table = b"".join(
            struct.pack(
                "<B3sB3sII",
                0x80 if number == 1 else 0,
                b"\0\0\0",
                0x83,
                b"\0\0\0",
                self._start(number) // 512,
                8 * _MIB // 512,
            )
            for number in (1, 2, 3)
        )
        with self.disk.open("wb") as disk:
            disk.write(b"\0" * 446 + table + b"\0" * 16 + b"\x55\xaa")
            disk.truncate(32 * _MIB)
            for number, content in parts.items():
                image = folder / f"part-{number}"
                run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^64bit", "-d", content, image, "8M")
                disk.seek(self._start(number))
                disk.write(image.read_bytes())

    @staticmethod
    def _start(number: int) -> int:
        return (4 + 8 * (number - 1)) * _MIB

    def break_kernel(self, number: int) -> None:
        """Nothing of that partition can be read any more."""
        with self.disk.open("r+b") as disk:
            disk.seek(self._start(number))
            disk.write(b"\0" * 8 * _MIB)

    def spoil_kernel(self, number: int, says: str) -> None:
        """The file is there and no kernel."""
        content = self.disk.read_bytes()
        at = content.index(kernel(f"\n{says}\n")[:64], self._start(number))
        with self.disk.open("r+b") as disk:
            disk.seek(at)
            disk.write(b"\0" * 64)

    @property
    def environment(self) -> dict[str, str]:
        return read_environment(self.disk)

    def counters(self) -> tuple[str, str, str]:
        """Order and counters as saved."""
        saved = self.environment
        return saved.get("BOOT_ORDER", ""), saved.get("BOOT_A_LEFT", ""), saved.get("BOOT_B_LEFT", "")

    def set_counters(self, order: str, left_a: str, left_b: str, **more: str) -> None:
        write_environment(self.disk, {"BOOT_ORDER": order, "BOOT_A_LEFT": left_a, "BOOT_B_LEFT": left_b, **more})

    def run_until(self, enough: Callable[[str], object], timeout_s: float = 180.0) -> str:
        """Switch it on, let it boot (and boot again) until it has said enough, and cut its power. What it said.

        This firmware sometimes stands still while it sets up the memory after a restart, on a busy machine: before it
        has seen a disk. Then the power is cut and switched on again, which the script must bear at any time.
        """
        before, deadline = "", time.monotonic() + timeout_s
        while True:
            said, stuck = self._switched_on(lambda text, before=before: enough(before + text), deadline)
            before += said
            if not stuck:
                return before

    def _switched_on(self, enough: Callable[[str], object], deadline: float) -> tuple[str, bool]:
        """What it said until it was enough, or until it stood still in its memory."""
        self._serial.write_bytes(b"")
        process = subprocess.Popen(
            [
                "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "256", "-nodefaults",
                "-display", "none", "-bios", self._firmware,
                "-drive", f"if=none,format=raw,id=disk,file={self.disk}", "-device", "virtio-blk-device,drive=disk",
                "-serial", f"file:{self._serial}",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        heard, heard_at = 0, time.monotonic()
        try:
            while not enough(said := self._said()):
                now = time.monotonic()
                if len(said) != heard:
                    heard, heard_at = len(said), now
                if now - heard_at > SILENT_S and said.rstrip().endswith(IN_ITS_MEMORY):
                    return said, True
                if now > deadline or process.poll() is not None:
                    raise AssertionError(f"the board does not come so far:\n{said[-3000:]}")
                time.sleep(0.02)
            return said, False
        finally:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)

    def boots(self, count: int) -> tuple[list[str], str]:
        """Which slots' kernels ran in so many boots, and everything said."""
        # Until the last kernel has told its command line, too.
        said = self.run_until(lambda text: min(len(kernels_in(text)), len(command_lines(text))) >= count)
        return kernels_in(said)[:count], said

    def _said(self) -> str:
        return self._serial.read_bytes().decode("latin-1")


def kernels_in(said: str) -> list[str]:
    return re.findall(r"the kernel of slot ([AB])\n", said)


def command_lines(said: str) -> list[str]:
    """The kernels' command lines, out of the device trees that they printed."""
    return re.findall(r"(console=ttyAMA0 panic=10 [^\0]*rauc\.slot=[^\0]*)\0", said)
