"""QEMU's arm64 virtual machine, which the layer's `qemuarm64` is for.

U-Boot, a card, a USB stick, an FTDI adapter with a meter at its end, a network with the cloud in it, a watchdog, a
serial line.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.fakes.ports import free_port
from tests.image.console import Console

CLOUD_ADDRESS = "10.0.2.2"
"""The host, as QEMU's own network shows it to the guest."""
GUEST_ADDRESS = "10.0.2.15"
METER, SERIAL, CONSOLE = "meter.sock", "serial.sock", "console"
"""In the board's folder, where QEMU runs: a socket's whole name may have a hundred letters."""
METER_PORT = "/dev/aquasmart/usb-1-00"
"""The adapter in the first USB socket, by the station's own udev rule."""
STICK = "/run/media/sda"
WAN_PORTS = (22, 80)


class Board:
    """One board. Without power until `power_on`."""

    def __init__(self, folder: Path, firmware: Path, card: Path, stick: Path) -> None:
        self.folder, self._firmware, self._card, self._stick = folder, firmware, card, stick
        self._qemu: subprocess.Popen[bytes] | None = None
        self.wan = {port: free_port() for port in WAN_PORTS}
        """Ports of the host that lead to the station from its WAN."""

    def power_on(self) -> Console:
        for name in (METER, SERIAL):
            (self.folder / name).unlink(missing_ok=True)
        forward = "".join(f",hostfwd=tcp:127.0.0.1:{here}-{GUEST_ADDRESS}:{there}" for there, here in self.wan.items())
        words = [
            "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "1024",
            "-accel", "tcg,thread=multi", "-display", "none", "-nodefaults", "-bios", self._firmware,
            "-drive", f"file={self._card},format=raw,if=none,id=card,cache=unsafe",
            "-device", "virtio-blk-device,drive=card",
            "-netdev", f"user,id=net,ipv6=off{forward}", "-device", "virtio-net-device,netdev=net",
            "-device", "i6300esb", "-action", "watchdog=reset",
            "-device", "qemu-xhci,id=usb",
            "-chardev", f"socket,id=meter,path={METER},server=on,wait=off",
            "-device", "usb-serial,bus=usb.0,port=1,chardev=meter",
            "-drive", f"file={self._stick},format=raw,if=none,id=stick,readonly=on",
            "-device", "usb-storage,bus=usb.0,port=2,drive=stick,removable=on",
            "-chardev", f"socket,id=console,path={SERIAL},server=on,wait=off,logfile={CONSOLE},logappend=on",
            "-serial", "chardev:console",
        ]  # fmt: skip
        with (self.folder / "qemu.log").open("ab") as output:
            self._qemu = subprocess.Popen(
                [str(word) for word in words],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            return Console(self.folder / SERIAL)
        except OSError as fault:
            said = (self.folder / "qemu.log").read_text(errors="replace")[-1500:]
            raise AssertionError(f"QEMU does not start: {fault}\n{said}") from fault

    def power_off(self) -> None:
        """The plug pulled."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(30)
        self._qemu = None
