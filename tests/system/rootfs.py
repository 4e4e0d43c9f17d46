"""A Debian to install packages in: made once by mmdebstrap from this machine's own package sources, then copied.

Kept in a cache folder (`AQUASMART_CACHE`, else `build/cache`) under a name that follows from the release and the list
of packages, so that a change of either makes a new one. Nothing of AquaSmart is in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.site import REPOSITORY

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "libpam-systemd", "init-system-helpers", "ca-certificates"),
    *(
        "python3",
        "python3-click",
        "python3-rich",
        "python3-sdnotify",
        "python3-serial",
        "python3-urllib3",
        "python3-flask",
        "python3-waitress",
    ),
    *("iproute2", "procps", "util-linux"),
    *("rauc", "rauc-service", "squashfs-tools"),
)
PYTHON_OF = {"bookworm": "3.11", "trixie": "3.13"}
"""The releases that the packages are for, and whose Python the cloud's must be built for."""
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


class NoRootfs(Exception):
    """The Debian could not be made. The message holds mmdebstrap's last words."""


def debian(release: str | None = None, *more: str) -> Path:
    """The folder of a fresh Debian with `more` packages; never to be booted itself. `release`: this machine's unless
    given or named by `AQUASMART_RELEASE`. Raises NoRootfs."""
    release = release or release_name()
    packages = (*PACKAGES, *more)
    name = hashlib.sha256(" ".join((release, *packages, *LEFT_OUT)).encode()).hexdigest()[:16]
    cache = cache_folder()
    target = cache / f"{release}-{name}"
    with (cache / "lock").open("w") as lock:
        # Tests that run side by side must not make it twice.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _make(target, release, packages)
    return target


def release_name() -> str:
    return os.environ.get("AQUASMART_RELEASE") or platform.freedesktop_os_release()["VERSION_CODENAME"]


def cache_folder() -> Path:
    folder = Path(os.environ.get("AQUASMART_CACHE") or REPOSITORY / "build" / "cache")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_of(rootfs: Path, target: Path) -> Path:
    """A copy on disk, with an identity of its own."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(rootfs), str(target)], check=True)
    return _identified(target)


@contextmanager
def layered(rootfs: Path, folder: Path) -> Iterator[Path]:
    """The same to boot, in no time: what is written lies in `folder`. A whole copy where the kernel has no overlays."""
    for name in ("written", "work", "root"):
        (folder / name).mkdir(parents=True)
    root = folder / "root"
    options = f"lowerdir={rootfs},upperdir={folder / 'written'},workdir={folder / 'work'}"
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], capture_output=True)
    if mounted.returncode:
        subprocess.run(["cp", "-a", "--reflink=auto", f"{rootfs}/.", str(root)], check=True)
    try:
        yield _identified(root)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(root)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def _identified(target: Path) -> Path:
    identity = hashlib.sha256(str(target).encode()).hexdigest()[:32]
    (target / "etc/machine-id").write_text(identity + "\n")
    return target


def _make(target: Path, release: str, packages: tuple[str, ...]) -> None:
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    command += ['--aptopt=APT::Install-Recommends "false"']
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    done = subprocess.run([*command, release, str(fresh), *sources(release)], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise NoRootfs(f"mmdebstrap ended with {done.returncode}:\n{done.stderr[-2000:]}")
    # No kernel events reach a container: its udev would only wait for them.
    (fresh / "etc/systemd/system/systemd-udevd.service").symlink_to("/dev/null")
    fresh.rename(target)


def sources(release: str) -> list[str]:
    """This machine's own lists of package sources that are about its release; none: mmdebstrap's own choice."""
    listed = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*.sources"))]
    return [str(path) for path in listed if path.exists() and release in path.read_text()]
