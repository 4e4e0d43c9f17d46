"""Machines that run real systemd: what a test can do to one, and a container (systemd-nspawn) as the first kind.

`Machine` is all that the stations and the tests know: an emulated machine (QEMU) is another implementation of it. A
container shares the host's kernel: power cuts, MemoryMax and IPAddressDeny are for emulated machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

EXIT_RESTART = 133
"""How nspawn ends where its machine restarts, with --keep-unit."""


class Machine(Protocol):
    """A machine with systemd as its first process."""

    root: Path
    """Its file system, as the host sees it."""

    def boot(self) -> float:
        """Start it; seconds until systemd had started everything that is started at boot."""
        ...

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command within, as root."""
        ...

    def power_off(self) -> None:
        """An orderly end."""
        ...

    def destroy(self) -> None:
        """The end, however it stands."""
        ...


class Cable:
    """A network namespace joined to the host by a pair of interfaces. `cut` and `mend` are the plug."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self._host_end = name, f"{name}h"
        self.host_address, self._address = f"10.213.{number}.1", f"10.213.{number}.2"

    def lay(self) -> None:
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._host_end, "type", "veth", "peer", "name", "host0", "netns", self.name)
        _run("ip", "address", "add", f"{self.host_address}/30", "dev", self._host_end)
        _run("ip", "link", "set", self._host_end, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{self._address}/30", "dev", "host0"),
            ("link", "set", "host0", "up"),
            ("route", "add", "default", "via", self.host_address),
        ):
            _run("ip", "-n", self.name, *words)

    def cut(self) -> None:
        _run("ip", "link", "set", self._host_end, "down")

    def mend(self) -> None:
        _run("ip", "link", "set", self._host_end, "up")

    def remove(self) -> None:
        subprocess.run(["ip", "link", "del", self._host_end], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


class Container:
    """Real systemd in systemd-nspawn, in a cgroup and a network of its own."""

    def __init__(self, root: Path, name: str, cable: Cable, console: Path, *, devices: tuple[Path, ...] = ()) -> None:
        """`devices`: nodes of the host's that it may use."""
        self.root, self._name, self._cable, self._console, self._devices = root, name, cable, console, devices
        self.kernel_words: tuple[str, ...] = ()
        """For the next boot: arguments of its first process, which systemd reads as the kernel's command line."""
        self._cgroup = cgroup2_mount() / name
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> float:
        began = time.monotonic()
        self._cgroup.mkdir(exist_ok=True)
        # --keep-unit --register=no: there may be no systemd on this host. A cgroup of its own, else two containers
        # would meet in one.
        command = ["systemd-nspawn", "--quiet", "--directory", str(self.root), "--machine", self._name]
        command += ["--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=off", "--timezone=off"]
        command += [f"--bind={device}" for device in self._devices]
        command += [f"--network-namespace-path=/run/netns/{self._cable.name}", "--boot", *self.kernel_words]
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", f'echo $$ > "{self._cgroup}/cgroup.procs"; exec "$@"', "sh", *command],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        self._leader = self._await_leader()
        self._await_started()
        return time.monotonic() - began

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", "--", *command], capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def power_off(self) -> None:
        self.run("systemctl", "poweroff", check=False)
        assert self._nspawn is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._nspawn.wait(30)
        self.destroy()

    def await_restart(self, timeout_s: float = 60.0) -> None:
        """Until it has restarted by itself: it is off then, and `boot` goes on."""
        assert self._nspawn is not None
        status = self._nspawn.wait(timeout_s)
        assert status == EXIT_RESTART, f"ended with {status}"
        self.destroy()

    def destroy(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            with contextlib.suppress(OSError):
                (self._cgroup / "cgroup.kill").write_text("1")
            self._nspawn.send_signal(signal.SIGKILL)
            self._nspawn.wait(20)
        self._nspawn = None
        for _ in range(50):
            for folder in sorted((f for f in self._cgroup.rglob("*") if f.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                self._cgroup.rmdir()
            if not self._cgroup.exists():
                return
            time.sleep(0.1)

    def _await_leader(self) -> int:
        deadline = time.monotonic() + 30
        assert self._nspawn is not None
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            for child in _children(self._nspawn.pid):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return child
            time.sleep(0.02)
        raise AssertionError(f"no systemd came up\n{self._console.read_text(errors='replace')[-2000:]}")

    def _await_started(self) -> None:
        deadline = time.monotonic() + 60
        said = ""
        while time.monotonic() < deadline:
            said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            if said in {"running", "degraded"}:
                return
            time.sleep(0.05)
        jobs = self.run("systemctl", "list-jobs", "--no-pager", check=False).stdout
        raise AssertionError(f"systemd is still {said!r}\n{jobs}")


def cgroup2_mount() -> Path:
    """Where the unified hierarchy is mounted: the only one, or beside the old ones. LookupError where it is not."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    raise LookupError("no cgroup2 hierarchy is mounted")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
