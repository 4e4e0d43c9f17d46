"""Files and names that are on the disk when a function returns, also through a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, text: str, mode: int | None = None) -> None:
    """Write a small file whole or not at all, and keep it through a power cut. Raises OSError.

    `mode`: who may read it, from its first byte on; None: as the process's umask has it.
    """
    fresh = path.with_name(path.name + ".part")
    if mode is not None:
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.chmod(mode)
    fresh.write_text(text)
    sync_file(fresh)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable: a rename is only on disk when its folder is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hand_to_folders_owner(path: Path) -> None:
    """Where root has made a file in the folder of a service's user (a technician's command), it is that user's: the
    service could not open it otherwise. A no-op for everybody else. Raises OSError."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
