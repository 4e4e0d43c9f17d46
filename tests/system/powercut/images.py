"""What a machine under QEMU is made of: a kernel, an initrd, a root file system with the station, a data partition.

Built from the machine's own package sources and kept in the cache by what they are made of, so that the second run
costs nothing. The root file system is read-only for the guest; only the data partition lives through a cut.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from demo.site import REPOSITORY
from tests.system.rootfs import cache_folder, debian

KERNEL = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4")
GUEST = Path(__file__).parent / "guest"


class Unbuildable(AssertionError):
    """A part of a machine could not be made; the message holds the tool's last words."""


def run(*command: str | Path, **settings: object) -> str:
    """What a program says. Raises Unbuildable."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **settings)  # type: ignore[call-overload]
    if done.returncode:
        raise Unbuildable(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return str(done.stdout)


@cache
def kernel() -> Path:
    """A folder with the distribution's small kernel for virtual machines and its modules."""
    found = [
        line.split()[1] for line in run("apt-cache", "depends", KERNEL).splitlines() if "Depends: linux-image" in line
    ]
    return _unpacked(found[0], lambda fresh: run("depmod", "-b", fresh, _version(fresh)))


def _unpacked(package: str, then: Callable[[Path], object] = lambda _: None) -> Path:
    """A package's files in a folder of their own, installed nowhere."""
    target = cache_folder() / package
    if not target.exists():
        fresh = _fresh(target)
        run("apt-get", "download", package, cwd=fresh)
        (archive,) = fresh.glob("*.deb")
        run("dpkg-deb", "-x", archive, fresh)
        archive.unlink()
        then(fresh)
        fresh.rename(target)
    return target


@cache
def initrd(modules: tuple[str, ...] = MODULES, init: Path = GUEST / "initrd-init") -> Path:
    """An initrd that loads what the kernel needs for its disks and goes over to the root file system."""
    kernel_folder = kernel()
    target = cache_folder() / f"initrd-{_digest(kernel_folder.name, *modules, init.read_text())}.gz"
    if not target.exists():
        work = _fresh(target)
        for name in ("bin", "modules", "proc", "sys", "dev", "newroot"):
            (work / name).mkdir()
        shutil.copy(_unpacked("busybox-static") / "bin" / "busybox", work / "bin" / "busybox")
        names: list[str] = []
        for module in modules:
            shown = run("modprobe", "-S", _version(kernel_folder), "-d", kernel_folder, "--show-depends", module)
            for path in (Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod")):
                if path.name not in names:
                    names.append(path.name)
                    shutil.copy(path, work / "modules" / path.name)
        (work / "modules" / "order").write_text("\n".join(names) + "\n")
        shutil.copy(init, work / "init")
        (work / "init").chmod(0o755)
        made = target.with_suffix(".part")
        run("sh", "-c", f"find . | cpio -o -H newc --quiet | gzip -1 > {made}", cwd=work)
        made.rename(target)
        shutil.rmtree(work)
    return target


@cache
def root_image() -> Path:
    """The root file system with this checkout's station and the guest's programs, as an ext4 image."""
    base = debian()
    station = REPOSITORY / "station" / "src" / "aquasmart_station"
    parts = [
        path
        for folder in (station, GUEST)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    target = (
        cache_folder()
        / f"power-root-{_digest(base.name, *(f'{path}:{path.stat().st_mtime_ns}' for path in parts))}.img"
    )
    if not target.exists():
        for former in cache_folder().glob("power-root-*.img"):
            former.unlink()
        fresh = _fresh(target)
        run("cp", "-a", "--reflink=auto", f"{base}/.", fresh)
        site = fresh / "usr" / "lib" / "python3" / "dist-packages"
        shutil.copytree(station, site / "aquasmart_station", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(GUEST, fresh / "guest", ignore=shutil.ignore_patterns("__pycache__"))
        for folder in ("var/lib/aquasmart", "etc/aquasmart"):
            (fresh / folder).mkdir(parents=True)
        # Compiled here: an emulated processor would take seconds for it at every boot, and cannot keep it.
        run("python3", "-m", "compileall", "-q", "-s", fresh, "-p", "/", site / "aquasmart_station", fresh / "guest")
        made = target.with_suffix(".part")
        run("mke2fs", "-q", "-t", "ext4", "-d", fresh, "-L", "root", "-E", "root_owner=0:0", made, "900M")
        made.rename(target)
        shutil.rmtree(fresh)
    return target


def prepare() -> None:
    """Make what is missing, once and before several machines want it at the same time. Raises Unbuildable."""
    for part in (kernel_image, initrd, root_image):
        part()


def data_image(folder: Path, target: Path, mib: int) -> Path:
    """A data partition as a station has it, filled from a folder."""
    target.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", folder, "-L", "data", "-E", "root_owner=0:0", target, f"{mib}M")
    return target


@cache
def kernel_image() -> Path:
    (found,) = (kernel() / "boot").glob("vmlinuz-*")
    return found


def _version(kernel_folder: Path) -> str:
    return next((kernel_folder / "lib" / "modules").iterdir()).name


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _fresh(target: Path) -> Path:
    """An empty folder beside the target, to be renamed to it when it is whole."""
    folder = target.with_name(f"{target.name}.{os.getpid()}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
