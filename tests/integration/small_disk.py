"""A small ext4 file system of its own for a test, and somebody who fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 64 << 10


@contextlib.contextmanager
def small_disk(image: Path, folder: Path, size_mib: int) -> Iterator[Path]:
    """Mounted at `folder` as a station mounts its data partition; nothing kept back for root. Gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    _run("mount", "-t", "ext4", "-o", "loop,commit=5,errors=remount-ro", str(image), str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


class Filler:
    """Another program's file, as large as the disk lets it be."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "somebody-elses"

    def fill(self) -> int:
        """Write until the disk takes no more, to the last block; how many bytes it took."""
        written = 0
        with self._path.open("ab", buffering=0) as file:
            for size in (CHUNK_BYTES, 1024):
                with contextlib.suppress(OSError):
                    while True:
                        written += file.write(b"x" * size)
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())
        return written

    def leave(self) -> None:
        self._path.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
