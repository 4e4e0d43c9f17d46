"""What a machine under QEMU is made of: a kernel, an initrd, a root file system with the station, a data partition.

Built from the machine's own package sources and kept in the cache by what they are made of, so that the second run
costs nothing. The root file system is read-only for the guest; only the data partition lives through a cut.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from demo.site import REPOSITORY
from tests.system.emulated import parts
from tests.system.emulated.parts import run
from tests.system.rootfs import cache_folder, debian

KERNEL = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4")
GUEST = Path(__file__).parent / "guest"
ROOT_WORDS = "root=/dev/vda ro init=/guest/init"
"""For the kernel's command line, read by the initrd."""


@cache
def kernel() -> Path:
    """A folder with the distribution's small kernel for virtual machines and its modules."""
    return parts.kernel(KERNEL)


@cache
def initrd() -> Path:
    """An initrd that loads what the kernel needs for its disks and goes over to the root file system."""
    return parts.initrd(kernel(), parts.unpacked("busybox-static") / "bin" / "busybox", MODULES)


@cache
def root_image() -> Path:
    """The root file system with this checkout's station and the guest's programs, as an ext4 image."""
    base = debian()
    station = REPOSITORY / "station" / "src" / "aquasmart_station"
    files = [
        path
        for folder in (station, GUEST)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    name = parts.digest(base.name, *(f"{path}:{path.stat().st_mtime_ns}" for path in files))
    target = cache_folder() / f"power-root-{name}.img"
    if not target.exists():
        for former in cache_folder().glob("power-root-*.img"):
            former.unlink()
        fresh = parts.fresh(target)
        run("cp", "-a", "--reflink=auto", f"{base}/.", fresh)
        site = fresh / "usr" / "lib" / "python3" / "dist-packages"
        shutil.copytree(station, site / "aquasmart_station", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(GUEST, fresh / "guest", ignore=shutil.ignore_patterns("__pycache__"))
        for folder in ("var/lib/aquasmart", "etc/aquasmart"):
            (fresh / folder).mkdir(parents=True)
        # Compiled here: an emulated processor would take seconds for it at every boot, and cannot keep it.
        run("python3", "-m", "compileall", "-q", "-s", fresh, "-p", "/", site / "aquasmart_station", fresh / "guest")
        parts.disk_image(fresh, target.with_suffix(".part"), 900, "root").rename(target)
        shutil.rmtree(fresh)
    return target


def prepare() -> None:
    """Make what is missing, once and before several machines want it at the same time. Raises Unbuildable."""
    for part in (kernel_image, initrd, root_image):
        part()


def data_image(folder: Path, target: Path, mib: int) -> Path:
    """A data partition as a station has it, filled from a folder."""
    return parts.disk_image(folder, target, mib, "data")


@cache
def kernel_image() -> Path:
    return parts.kernel_image(kernel())
