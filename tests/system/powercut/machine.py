"""One emulated machine: QEMU before an nbdkit that holds its drive's volatile cache. `cut` takes both at once.

Writes that the guest has not flushed live in nbdkit's cache only, as in the memory of a card; SIGKILL of nbdkit loses
them, SIGKILL of QEMU loses the guest's memory and page cache. What the guest has told through its ports is in files.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from .images import ROOT_WORDS, initrd, kernel_image, root_image


class Machine:
    """A station's board with its drive. `folder` is this machine's own; `meter` the terminal of its meter."""

    def __init__(self, folder: Path, data: Path, meter: Path) -> None:
        self.folder, self._data, self._meter = folder, data, meter
        self._drive: subprocess.Popen[bytes] | None = None
        self._qemu: subprocess.Popen[bytes] | None = None
        self.report = folder / "report"
        self.marks = {name: folder / f"marks-{name}" for name in ("reader", "migration")}

    def boot(self, *words: str) -> None:
        """Switch it on. `words`: more of the kernel's command line, which the guest reads."""
        socket = self.folder / "drive.sock"
        socket.unlink(missing_ok=True)
        for path in (self.report, *self.marks.values()):
            path.write_bytes(b"")
        self._drive = subprocess.Popen(
            ["nbdkit", "-f", "-U", socket, "--filter=cache", "file", self._data, "cache=writeback"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < deadline, "nbdkit does not come up"
            time.sleep(0.01)
        with (self.folder / "qemu.log").open("wb") as output:
            self._qemu = subprocess.Popen(
                self._command(socket, words), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _command(self, socket: Path, more: tuple[str, ...]) -> list[str]:
        kernel_words = f"{ROOT_WORDS} console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check"
        words = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults",
            "-display", "none", "-no-reboot",
            "-kernel", kernel_image(), "-initrd", initrd(),
            "-append", " ".join([kernel_words, *more]),
            "-drive", f"file={root_image()},format=raw,if=none,id=root,readonly=on",
            "-device", "virtio-blk-pci,drive=root",
            "-drive", f"file=nbd:unix:{socket},format=raw,if=none,id=data,cache=writeback",
            "-device", "virtio-blk-pci,drive=data",
            "-chardev", f"file,id=console,path={self.folder}/console", "-device", "isa-serial,chardev=console",
            "-chardev", f"serial,id=meter,path={self._meter.resolve()}", "-device", "isa-serial,chardev=meter",
            "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-serial-pci",
        ]  # fmt: skip
        for name, path in {"report": self.report, **self.marks}.items():
            words += [
                "-chardev",
                f"file,id={name},path={path}",
                "-device",
                f"virtserialport,chardev={name},name={name}",
            ]
        return [str(word) for word in words]

    def running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def cut(self) -> None:
        """The power goes: first the drive, which forgets what it had not flushed, then everything else."""
        for process in (self._drive, self._qemu):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in (self._drive, self._qemu):
            if process is not None:
                process.wait(20)
        self._drive = self._qemu = None

    def lines(self) -> list[list[str]]:
        """What the guest has reported since the boot, whole lines, split into words."""
        text = self.report.read_text(errors="replace")
        return [line.split(" ") for line in text[: text.rfind("\n") + 1].splitlines()]

    def under_way(self, name: str) -> str:
        """The work on the log that began and had not ended when the last word came; empty where there is none."""
        words = self.marks[name].read_text(errors="replace").splitlines()
        last = words[-1] if words else ""
        return last[1:] if last.startswith("+") else ""

    def said(self) -> str:
        """The console's last words, for a failure."""
        console = self.folder / "console"
        text = console.read_text(errors="replace") if console.exists() else ""
        return text[-2500:]
