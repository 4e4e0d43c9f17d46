"""The appliance's parts as the image has them: a copy of this machine's root that nobody else sees, and its networks.

Not a mock: the root is this Debian, overlaid in memory, with the layer's own files where the recipes install them, the
users that the recipes make, a real sshd, PAM, nftables. Three network namespaces: the station, a laptop at its USB
socket, and the WAN. What is not like the image is said where a test needs it: Debian's versions, and no booted systemd.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .recipes import CONFIG_RECIPE, LAYER, REPOSITORY, STATION_RECIPE, variables

FILES = LAYER / "recipes-aquasmart/aquasmart-config/aquasmart-config"
COMMON_AUTH = LAYER / "recipes-extended/pam/libpam/aquasmart-common-auth"
STATION, LAPTOP, WAN = "192.168.77.1", "192.168.77.10", "192.0.2.1"
STATION_ON_WAN = "192.0.2.7"

_NUMBERS = itertools.count()

# The last line keeps the mounts until somebody closes our standard input.
_ROOT = r"""
set -eu
root=$1/root
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root$2"
mount --bind "$2" "$root$2"
echo ready
read -r _ || true
"""


@dataclass
class Appliance:
    """`run` and `start` are inside; `from_` tells in whose network a program of this machine's own runs."""

    folder: Path
    holder: int
    networks: dict[str, str]

    def _inside(self, command: list[str], where: str = "station", chroot: bool = True) -> list[str]:
        enter = ["nsenter", f"--target={self.holder}", "--mount", f"--net=/run/netns/{self.networks[where]}"]
        return [*enter, *(["chroot", str(self.folder / "root")] if chroot else []), *command]

    def command(self, *words: str) -> list[str]:
        """What runs a program on the appliance, as root."""
        return self._inside(list(words))

    def run(self, *command: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program on the appliance, as root."""
        done = subprocess.run(self._inside(list(command)), capture_output=True, text=True, input=stdin, timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a program on the appliance, as root."""
        with log.open("ab") as output:
            return subprocess.Popen(self._inside(list(command)), stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def started_outside(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a program of this machine in the station's network."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.networks["station"], *command], stdout=output, stderr=output
            )

    def from_(self, where: str, *command: str, stdin: str = "", environment: dict[str, str] | None = None,
              timeout_s: float = 60) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program of this machine in the network of the laptop, the WAN or the station."""
        return subprocess.run(
            ["ip", "netns", "exec", self.networks[where], *command], capture_output=True, text=True, input=stdin,
            env=os.environ | (environment or {}), timeout=timeout_s,
        )  # fmt: skip

    def put(self, source: Path, place: str, mode: int = 0o644) -> None:
        self.run("install", "-D", f"--mode={mode:o}", "/dev/stdin", place, stdin=source.read_text(encoding="utf-8"))

    def write(self, place: str, text: str, mode: int = 0o644) -> None:
        self.run("install", "-D", f"--mode={mode:o}", "/dev/stdin", place, stdin=text)


@contextmanager
def appliance(folder: Path) -> Iterator[Appliance]:
    """One, until the end of the block: nothing of it stays."""
    number = f"{os.getpid()}n{next(_NUMBERS)}"
    networks = {"station": f"aqs{number}", "laptop": f"aql{number}", "wan": f"aqw{number}"}
    folder.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", _ROOT, "root", str(folder), str(REPOSITORY)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        for name in networks.values():
            subprocess.run(["ip", "netns", "add", name], check=True)
        _wire(networks)
        here = Appliance(folder, holder.pid, networks)
        _install(here)
        yield here
    finally:
        for name in networks.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        holder.communicate("\n", timeout=20)


def _wire(networks: dict[str, str]) -> None:
    station = networks["station"]
    # A modem on a stick is called usb0: the WAN must not come in by a name.
    ends = (("laptop", "own0", STATION, LAPTOP), ("wan", "usb0", STATION_ON_WAN, WAN))
    for where, card, here, there in ends:
        other = networks[where]
        for command in (
            f"ip link add {card} netns {station} type veth peer name card0 netns {other}",
            f"ip -n {station} address add {here}/24 dev {card}",
            f"ip -n {other} address add {there}/24 dev card0",
            f"ip -n {station} link set {card} up",
            f"ip -n {other} link set card0 up",
            f"ip -n {other} link set lo up",
        ):
            subprocess.run(command.split(), check=True)
    subprocess.run(["ip", "-n", station, "link", "set", "lo", "up"], check=True)


def _install(here: Appliance) -> None:
    """What the recipes install, where they install it; their users by their own words."""
    for recipe in (STATION_RECIPE, CONFIG_RECIPE):
        said = variables(recipe)
        for words in said["GROUPADD_PARAM:${PN}"].split(";"):
            group = shlex.split(words)
            here.run("groupadd", "--force", *group)
        for words in said["USERADD_PARAM:${PN}"].split(";"):
            here.run(
                "useradd",
                *shlex.split(words.replace("${libexecdir}", "/usr/libexec").replace("${localstatedir}", "/var")),
            )
    for script in (FILES / "scripts").iterdir():
        here.put(script, f"/usr/libexec/aquasmart/{script.name}", 0o755)
    here.put(FILES / "etc/sshd_config", "/usr/lib/aquasmart/sshd_config")
    here.put(FILES / "etc/nftables.conf", "/usr/lib/aquasmart/nftables.conf")
    here.put(FILES / "etc/sudoers", "/etc/sudoers.d/aquasmart", 0o440)
    here.put(COMMON_AUTH, "/etc/pam.d/common-auth")
    # The system's Python has the package, the command is this tree's own: as on the image, by other paths.
    here.run("cp", "-r", str(REPOSITORY / "station/src/aquasmart_station"), "/usr/lib/python3/dist-packages/")
    here.write("/usr/bin/aquasmart", f'#!/bin/sh\nexec {REPOSITORY}/.venv/bin/aquasmart "$@"\n', 0o755)
    for parent in [*REPOSITORY.parents, Path(os.path.realpath(REPOSITORY / ".venv/bin/python")).parent]:
        if parent != Path("/"):
            here.run("chmod", "a+x", str(parent), check=False)
    here.run("chmod", "a+x", "/root", check=False)
    here.run("mkdir", "-p", "/data", "/run/sshd", "/etc/aquasmart")


def section(text: str, name: str) -> dict[str, str]:
    """One section of a unit file, the last value of each name."""
    inside = re.search(rf"^\[{name}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    pairs = re.findall(r"^(\w+)=(.*)$", inside[1] if inside else "", re.MULTILINE)
    return dict(pairs)
