"""What machines under QEMU are made of, whatever they emulate: kernels with their modules, initrds, disks.

Everything comes from the host's own package sources and is kept in the cache under a name that follows from what it
is made of. Nothing is installed on the host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.system.rootfs import cache_folder

GUEST = Path(__file__).parent / "guest"


class Unbuildable(AssertionError):
    """A part of a machine could not be made; the message holds the tool's last words."""


def run(*command: str | Path, **settings: object) -> str:
    """What a program says. Raises Unbuildable."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **settings)  # type: ignore[call-overload]
    if done.returncode:
        raise Unbuildable(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return str(done.stdout)


def unpacked(package: str, then: Callable[[Path], object] = lambda _: None, apt: Sequence[str] = ()) -> Path:
    """A package's files in a folder of their own, installed nowhere. `apt`: options for another architecture's."""
    target = cache_folder() / package.replace(":", "-")
    if not target.exists():
        made = fresh(target)
        run("apt-get", *apt, "download", package, cwd=made)
        (archive,) = made.glob("*.deb")
        run("dpkg-deb", "-x", archive, made)
        archive.unlink()
        then(made)
        made.rename(target)
    return target


def kernel(package: str, apt: Sequence[str] = ()) -> Path:
    """A folder with the kernel that a package of Debian's stands for, and its modules."""
    depends = run("apt-cache", *apt, "depends", package).splitlines()
    found = [line.split()[1] for line in depends if "Depends: linux-image" in line]
    return unpacked(found[0], lambda made: run("depmod", "-b", made, version(made)), apt)


def kernel_image(folder: Path) -> Path:
    (found,) = (folder / "boot").glob("vmlinuz-*")
    return found


def version(kernel_folder: Path) -> str:
    return next((kernel_folder / "lib" / "modules").iterdir()).name


def module_files(kernel_folder: Path, names: Iterable[str]) -> list[Path]:
    """Modules and all that they need, in the order in which they are loaded. Those that are built in have no file."""
    found: dict[str, Path] = {}
    for name in names:
        shown = run("modprobe", "-S", version(kernel_folder), "-d", kernel_folder, "--show-depends", name)
        for line in shown.splitlines():
            if line.startswith("insmod"):
                path = Path(line.split()[1])
                found.setdefault(path.name, path)
    return list(found.values())


def initrd(kernel_folder: Path, busybox: Path, modules: Sequence[str]) -> Path:
    """An initrd that loads what the kernel needs for its disks and goes over to the root file system."""
    init = GUEST / "initrd-init"
    name = digest(kernel_folder.name, busybox.parts[-3], *modules, init.read_text())
    target = cache_folder() / f"initrd-{name}.gz"
    if not target.exists():
        work = fresh(target)
        for folder in ("bin", "modules", "proc", "sys", "dev", "newroot"):
            (work / folder).mkdir()
        shutil.copy(busybox, work / "bin" / "busybox")
        files = module_files(kernel_folder, modules)
        for path in files:
            shutil.copy(path, work / "modules" / path.name)
        (work / "modules" / "order").write_text("".join(f"{path.name}\n" for path in files))
        shutil.copy(init, work / "init")
        (work / "init").chmod(0o755)
        made = target.with_suffix(".part")
        run("sh", "-c", f"find . | cpio -o -H newc --quiet | gzip -1 > {made}", cwd=work)
        made.rename(target)
        shutil.rmtree(work)
    return target


def disk_image(folder: Path, target: Path, mib: int, label: str) -> Path:
    """An ext4 file system with what is in a folder, owners and all; no room is taken for what is empty."""
    target.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", folder, "-L", label, "-E", "root_owner=0:0", target, f"{mib}M")
    return target


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def fresh(target: Path) -> Path:
    """An empty folder beside the target, to be renamed to it when it is whole."""
    folder = target.with_name(f"{target.name}.{os.getpid()}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
