"""What a test may need that a machine may lack: how to find out, and what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REQUIRE_ALL = "AQUASMART_REQUIRE"
"""Set to `all`, a missing capability is a failure: CI must not pass because it tested less."""

PREFIX = "this machine lacks "


@dataclass(frozen=True)
class Capability:
    """One thing a machine may lack. `present` looks for it; `remedy` says what to install."""

    present: Callable[[], bool]
    remedy: str


def _programs(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) for name in names)


def _any_program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres: Debian keeps them off the PATH, one folder per version."""
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _can_mount() -> bool:
    """Whether a small file system of our own can be mounted: root, the programs, and a free loop device."""
    if os.geteuid() != 0 or not _programs("mkfs.ext4", "losetup", "mount")():
        return False
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True)
    return found.returncode == 0 and Path(found.stdout.strip()).exists()


def _ends_well(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def _can_have_networks() -> bool:
    """Whether a network of our own can be made: root, `ip`, and a kernel that lets us."""
    if os.geteuid() != 0 or not _programs("ip")():
        return False
    name = f"aqprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made.returncode == 0


def _can_boot_containers() -> bool:
    """Whether a Debian can be made and booted in a container: root, the programs, a cgroup2 tree that we may write."""
    if not (_can_have_networks() and _programs("systemd-nspawn", "mmdebstrap", "nsenter", "chroot")()):
        return False
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    return bool(places) and os.access(places[0], os.W_OK)


CAPABILITIES: dict[str, Capability] = {
    "chromium": Capability(
        lambda: _any_program("chromium", "chromium-browser", "google-chrome")() and _any_program("chromedriver")(),
        "a browser and its driver: apt-get install chromium chromium-driver",
    ),
    "postgresql": Capability(
        lambda: postgres_programs() is not None,
        "the PostgreSQL server's programs: apt-get install postgresql",
    ),
    "mbpoll": Capability(_programs("mbpoll"), "a Modbus master: apt-get install mbpoll"),
    "root": Capability(lambda: os.geteuid() == 0, "the right to be other users: run as root"),
    "socat": Capability(_programs("socat"), "socat: apt-get install socat"),
    "faketime": Capability(_programs("faketime"), "libfaketime: apt-get install faketime"),
    "loop": Capability(_can_mount, "root, loop devices and mkfs.ext4: run as root; apt-get install e2fsprogs mount"),
    "nginx": Capability(
        lambda: any(shutil.which("nginx", path=path) for path in (None, "/usr/sbin")),
        "nginx: apt-get install nginx",
    ),
    "mount-namespace": Capability(
        lambda: (
            os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
        ),
        "root and mount namespaces: run as root; apt-get install mount",
    ),
    "promtool": Capability(_programs("promtool"), "Prometheus' checker of metrics: apt-get install prometheus"),
    "netns": Capability(_can_have_networks, "root and network namespaces: run as root; apt-get install iproute2"),
    "qemu": Capability(
        lambda: (
            os.geteuid() == 0
            and _programs("qemu-system-x86_64", "nbdkit", "mmdebstrap", "mke2fs", "cpio")()
            and any(shutil.which("depmod", path=path) for path in (None, "/usr/sbin", "/sbin"))
        ),
        "an emulated machine: run as root; apt-get install qemu-system-x86 nbdkit mmdebstrap cpio kmod e2fsprogs",
    ),
    "raspberry": Capability(
        lambda: (
            os.geteuid() == 0
            and _programs("qemu-system-aarch64", "mmdebstrap", "mke2fs", "cpio", "apt-get")()
            and any(shutil.which("depmod", path=path) for path in (None, "/usr/sbin", "/sbin"))
        ),
        "an emulated Raspberry Pi: run as root; apt-get install qemu-system-arm mmdebstrap cpio kmod e2fsprogs",
    ),
    "nspawn": Capability(
        _can_boot_containers,
        "root, cgroup2 and systemd in containers: run as root; apt-get install systemd-container mmdebstrap iproute2",
    ),
    "packaging": Capability(
        _programs("dpkg-deb", "lintian"), "Debian's packaging tools: apt-get install dpkg-dev lintian"
    ),
    "nftables": Capability(
        lambda: shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin") is not None,
        "the kernel's packet filter: apt-get install nftables",
    ),
    "sshd": Capability(
        lambda: shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is not None and _programs("ssh")(),
        "an SSH server and client: apt-get install openssh-server openssh-client",
    ),
    "sudo": Capability(_programs("sudo"), "sudo: apt-get install sudo"),
    "partx": Capability(
        lambda: all(
            shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("partx", "sfdisk", "resize2fs")
        ),
        "programs for partitions: apt-get install util-linux fdisk e2fsprogs",
    ),
    "systemd-analyze": Capability(_programs("systemd-analyze"), "systemd's own checker: apt-get install systemd"),
    "redis": Capability(_programs("redis-server"), "a Redis server: apt-get install redis-server"),
    "gettext": Capability(_programs("msgfmt"), "GNU gettext's own programs: apt-get install gettext"),
    "man": Capability(_programs("man"), "man and its formatter: apt-get install man-db"),
    "rauc": Capability(
        _programs("rauc", "mksquashfs", "openssl"),
        "RAUC and what it makes bundles with: apt-get install rauc squashfs-tools openssl",
    ),
    "uboot": Capability(
        lambda: (
            _programs("qemu-system-aarch64", "mkimage", "mke2fs")()
            and Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin").exists()
        ),
        "U-Boot and a board for it: apt-get install qemu-system-arm u-boot-qemu u-boot-tools e2fsprogs",
    ),
    "strace": Capability(_programs("strace"), "strace: apt-get install strace"),
}


def missing(names: tuple[str, ...]) -> str | None:
    """Why a test that needs `names` cannot run here, None when it can. KeyError for an unknown capability."""
    lacking = [name for name in names if not CAPABILITIES[name].present()]
    if not lacking:
        return None
    return f"{PREFIX}{', '.join(lacking)} (install " + "; ".join(CAPABILITIES[n].remedy for n in lacking) + ")"


def everything_required() -> bool:
    return os.environ.get(REQUIRE_ALL) == "all"
