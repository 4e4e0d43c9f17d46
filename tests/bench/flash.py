"""A small ext4 file system of our own on a loop device, whose written sectors the kernel counts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SIZE_MIB = 256
SECTOR_BYTES = 512


class NoFlash(Exception):
    """This machine cannot give us a file system of our own; the message says why."""


class Flash:
    """A mounted file system and its device's counter."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self._stat = Path("/sys/block") / device / "stat"

    def bytes_written(self) -> int:
        """What has reached the device so far, after everything on its way has been written."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            subprocess.run(["sync", "-f", str(self.folder)], check=True)
        finally:
            os.close(handle)
        return int(self._stat.read_text().split()[6]) * SECTOR_BYTES


@contextlib.contextmanager
def flash() -> Iterator[Flash]:
    """Mounted as the station mounts its data partition (ext4, commit=5), gone afterwards. Raises NoFlash."""
    if os.geteuid() != 0:
        raise NoFlash("mounting a loop device needs root")
    if not all(map(shutil.which, ("mkfs.ext4", "losetup", "fsfreeze"))):
        raise NoFlash("mkfs.ext4, losetup or fsfreeze is missing: apt-get install e2fsprogs mount util-linux")
    with tempfile.TemporaryDirectory(prefix="aquasmart-flash-") as name:
        image, folder = Path(name) / "image", Path(name) / "data"
        folder.mkdir()
        with image.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE_MIB << 20)
        # Nothing may be left for the kernel to initialise in the background: it would be counted as ours.
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        device = _run("losetup", "--find", "--show", str(image))
        try:
            _run("mount", "-t", "ext4", "-o", "commit=5", device, str(folder))
            try:
                yield Flash(folder, Path(device).name)
            finally:
                _run("umount", str(folder))
        finally:
            _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoFlash(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
