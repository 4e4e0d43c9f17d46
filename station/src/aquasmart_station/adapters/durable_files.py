"""Files and names that are on the disk when a function returns, also through a power cut."""

from __future__ import annotations

import contextlib
import os
import stat
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
        folder, there = path.parent.stat(), path.stat()
        # Not asked for in vain: a sandbox's filter refuses the call itself, also where it would change nothing.
        if (folder.st_uid, folder.st_gid) != (there.st_uid, there.st_gid):
            os.chown(path, folder.st_uid, folder.st_gid)


def make_shared(path: Path) -> None:
    """Make a database's file writable for its folder's group, where the folder is a shared one (mode 2770); make it
    where it is missing. Never raises: on a missing folder, a full or a read-only disk, SQLite says what is the matter.

    SQLite itself never gives the group that right, and gives its -wal and -shm what the file has, whoever makes them. A
    reader of the group makes them where the services have just closed theirs: without the group's right they would be
    its own, and no service could write any more.
    """
    with contextlib.suppress(OSError):
        mode = path.parent.stat().st_mode
        if not (mode & stat.S_ISGID and mode & stat.S_IWGRP):
            return
        with contextlib.suppress(FileExistsError):
            # Never opened where it exists: closing it would drop the locks that SQLite has on it in this process.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
        if stat.S_IMODE(path.stat().st_mode) != 0o660:
            path.chmod(0o660)
        # Last: root in a sandbox may not. Then the group's right is what the services have.
        hand_to_folders_owner(path)
