"""An emulated PC: what a station's services run on where the clock, and not the board, is what a test is about."""

from __future__ import annotations

from tests.system.emulated import parts
from tests.system.emulated.machine import CONSOLE, DISK, METER
from tests.system.powercut import images

METER_PORT = "/dev/aquasmart/uart-ttyS1"
"""The name that the package's udev rule gives to the second serial port."""


class PC:
    """Of the same kernel and initrd as the power cuts'."""

    disk_mib = 1024

    def command(self, network: str) -> list[str]:
        kernel_words = (
            "root=/dev/vda rw init=/sbin/init console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check"
            " systemd.getty_auto=0"
        )
        words = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", parts.kernel_image(images.kernel()), "-initrd", images.initrd(), "-append", kernel_words,
            # What a drive forgets is powercut/'s business.
            "-drive", f"file={DISK},format=raw,if=none,id=root,cache=unsafe", "-device", "virtio-blk-pci,drive=root",
            "-chardev", f"file,id=console,path={CONSOLE}", "-device", "isa-serial,chardev=console",
            "-chardev", f"socket,id=meter,path={METER},server=on,wait=off", "-device", "isa-serial,chardev=meter",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
        ]  # fmt: skip
        return [str(word) for word in words]
