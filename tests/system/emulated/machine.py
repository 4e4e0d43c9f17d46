"""An emulated machine that boots a disk with systemd, and the test's hand in it (guest/agent.py).

A second kind of `Machine` beside the container: its own kernel, clock and drivers. What is emulated is the board's
business (`Board`); what a test does to the machine is the same for all. Power cuts are `powercut/`'s.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.fakes.ports import free_port
from tests.integration.world import eventually
from tests.system.emulated.guest import agent
from tests.system.emulated.parts import GUEST, disk_image

CLOUD_ADDRESS = "10.0.2.2"
"""The host, as QEMU's own network shows it to the guest."""
DISK, METER, CONSOLE = "disk.img", "meter.sock", "console"
"""In the machine's folder, where QEMU runs: a socket's whole name may have a hundred letters."""
BOOT_S, OFF_S, ASK_S = 300.0, 90.0, 300.0
FORWARD = f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:{agent.PORT}"

_IDLE = (
    *("e2scrub_reap.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
)
"""What Debian starts that no station needs: seconds each on an emulated processor."""
_AGENT = """\
[Unit]
Description=The test's hand in this machine
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 -u /usr/lib/test-agent.py
Restart=always
"""
_NETWORK = """\
[Match]
Name=!lo
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


class Clocks(NamedTuple):
    """A machine's two clocks, read together."""

    mono_ms: int
    wall_ms: int

    @property
    def offset_ms(self) -> int:
        return self.wall_ms - self.mono_ms


class Board(Protocol):
    """What QEMU emulates."""

    disk_mib: int

    def command(self, network: str) -> list[str]:
        """QEMU's command line. Files are DISK, METER (a socket, QEMU listens) and CONSOLE; `network` is its -netdev."""
        ...


def fit(root: Path) -> None:
    """Make a Debian's files into a machine's: its network, its devices, the test's hand."""
    units = root / "etc/systemd/system"
    # A container has no devices; a machine has.
    (units / "systemd-udevd.service").unlink(missing_ok=True)
    shutil.copy(GUEST / "agent.py", root / "usr/lib/test-agent.py")
    (units / "test-agent.service").write_text(_AGENT)
    (root / "etc/systemd/network").mkdir(exist_ok=True)
    (root / "etc/systemd/network/test.network").write_text(_NETWORK)
    for unit in _IDLE:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for unit, place in (("test-agent.service", "../"), ("systemd-networkd.service", "/lib/systemd/system/")):
        link = wanted / unit
        link.unlink(missing_ok=True)
        link.symlink_to(f"{place}{unit}")


class Emulated:
    """One machine. `root` is what its disk is made of at the first boot; later the disk alone says what it holds."""

    def __init__(self, board: Board, root: Path, folder: Path) -> None:
        self.root, self.folder, self._board = root, folder, board
        self._qemu: subprocess.Popen[bytes] | None = None
        self._port = 0

    def boot(self) -> float:
        began = time.monotonic()
        if not (self.folder / DISK).exists():
            disk_image(self.root, self.folder / DISK, self._board.disk_mib, "root")
        self._port = free_port()
        (self.folder / CONSOLE).write_bytes(b"")
        with (self.folder / "qemu.log").open("ab") as output:
            self._qemu = subprocess.Popen(
                self._board.command(FORWARD % self._port),
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            eventually(self._started, "the machine has booted", BOOT_S, 0.3)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self.said()}") from None
        return time.monotonic() - began

    def _started(self) -> bool:
        assert self._alive(), f"QEMU ended by itself\n{self.said()}"
        # Until the network is there QEMU's side of it may keep a connection waiting: a short patience, again and again.
        with contextlib.suppress(OSError, ValueError):
            said = self.ask("run", ["systemctl", "is-system-running"], patience_s=5.0)
            return said["out"].strip() in {"running", "degraded"}
        return False

    def ask(self, deed: str, *words: Any, patience_s: float = ASK_S) -> Any:
        """The agent's answer. OSError where there is none, ValueError where it is cut short."""
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=patience_s) as line,
            line.makefile("rwb") as io,
        ):
            io.write(json.dumps({"deed": deed, "with": words}).encode() + b"\n")
            io.flush()
            return json.loads(io.readline())

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        said = self.ask("run", list(command))
        if check and said["status"]:
            raise AssertionError(f"{' '.join(command)}: {said['status']}\n{said['out']}{said['err']}")
        return subprocess.CompletedProcess(command, said["status"], said["out"], said["err"])

    def query(self, path: str, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a database within; none while it or its tables are not there."""
        said = self.ask("query", path, sql, list(values))
        if "fault" in said:
            fault = said["fault"]
            assert "unable to open" in fault or "no such table" in fault, fault
            return []
        return [tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in row) for row in said["rows"]]

    def clocks(self, offset_ms: int | None = None) -> Clocks:
        """Its clocks; given an offset, the wall clock is set first: to so much more than the monotonic one."""
        return Clocks(**self.ask("clocks", offset_ms))

    def power_off(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.run("systemctl", "poweroff", check=False)
        # A board may have nothing that switches its power off: then its kernel says that it has done its part.
        eventually(
            lambda: not self._alive() or "Power down" in self.said() or "System halted" in self.said(),
            "off",
            OFF_S,
            0.2,
        )
        self.destroy()

    def destroy(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(30)
        self._qemu = None

    def _alive(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def said(self) -> str:
        """The console's and QEMU's last words, for a failure."""
        parts = [self.folder / CONSOLE, self.folder / "qemu.log"]
        return "\n".join(path.read_text(errors="replace")[-2500:] for path in parts if path.exists())
