"""The board: QEMU's Raspberry Pi 3B with Debian's own kernel and device tree, root on its SD card.

What QEMU has of it: four Cortex-A53, 1 GiB, the SD host, both serial ports, USB (here with a network adapter), no
battery clock. What it has not: the supply's and the temperature's sensors, Wi-Fi, Bluetooth, the pins' electricity,
the processor's real speed, a card that wears.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from tests.system.emulated import parts
from tests.system.emulated.machine import CONSOLE, DISK, METER
from tests.system.raspberry.foreign import Apt, foreign_debian

KERNEL = "linux-image-arm64"
DEVICE_TREE = "broadcom/bcm2837-rpi-3-b.dtb"
METER_PORT = "/dev/aquasmart/uart-ttyS1"
"""The serial port on pins 8 and 10, as the package's udev rule calls it: a Pi 3's other one belongs to Bluetooth."""
CARD_MODULES = ("mmc_block", "bcm2835", "sdhci_iproc", "ext4")
BOARD_MODULES = (
    *("dwc2", "phy_generic", "usbnet", "cdc_ether", "rndis_host", "cdc_subset"),
    *("leds_gpio", "bcm2835_thermal", "bcm2835_wdt", "bcm2835_rng"),
)
"""What Debian's udev loads on a Pi by itself, of all that its kernel has."""


@cache
def apt() -> Apt:
    return Apt("arm64")


@cache
def kernel() -> Path:
    return parts.kernel(KERNEL, apt().options)


def debian_for_the_board() -> Path:
    """Everything of the board that is made once; the root file system's folder. Raises Unbuildable, NoRootfs."""
    base = foreign_debian(apt())
    initrd()
    return base


@cache
def initrd() -> Path:
    busybox = parts.unpacked("busybox-static:arm64", apt=apt().options) / "bin" / "busybox"
    return parts.initrd(kernel(), busybox, CARD_MODULES)


def add_modules(root: Path) -> None:
    """The kernel's modules that such a board needs; the whole of them would be ten times the rest."""
    source, name = kernel() / "lib" / "modules", parts.version(kernel())
    target = root / "usr/lib/modules"
    for path in parts.module_files(kernel(), (*CARD_MODULES, *BOARD_MODULES)):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for path in (source / name).glob("modules.*"):
        shutil.copy(path, target / name)
    parts.run("depmod", "-b", root / "usr", name)


class Pi:
    """Raspberry Pi 3B."""

    disk_mib = 1024
    """A power of two, as QEMU wants cards to be."""

    def command(self, network: str) -> list[str]:
        tree = next(kernel().glob(f"usr/lib/linux-image-*/{DEVICE_TREE}"))
        kernel_words = "root=/dev/mmcblk0 rw init=/sbin/init console=ttyAMA0,115200 panic=-1 quiet systemd.getty_auto=0"
        words = [
            "qemu-system-aarch64", "-M", "raspi3b", "-accel", "tcg,thread=multi", "-display", "none", "-no-reboot",
            "-kernel", parts.kernel_image(kernel()), "-initrd", initrd(), "-dtb", tree, "-append", kernel_words,
            "-drive", f"file={DISK},format=raw,if=sd,cache=unsafe",
            # The first is the PL011, where the kernel speaks; the second the mini UART.
            "-chardev", f"file,id=console,path={CONSOLE}", "-serial", "chardev:console",
            "-chardev", f"socket,id=meter,path={METER},server=on,wait=off", "-serial", "chardev:meter",
            "-netdev", network, "-device", "usb-net,netdev=net",
        ]  # fmt: skip
        return [str(word) for word in words]
