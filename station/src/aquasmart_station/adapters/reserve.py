"""Space kept back on the data partition, so that a full disk can be rescued: even deleting needs room.

A file that is really allocated, and removed when space is short: before the log is opened, since a full disk refuses
that too, and when a commit fails for want of space. It is made again once there is room for it and for the log.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .log_file import JOURNAL_LIMIT_BYTES, free_bytes

RESERVE_BYTES = max(4 << 20, 2 * JOURNAL_LIMIT_BYTES)
SHORT_BELOW_BYTES = JOURNAL_LIMIT_BYTES
"""With less free than the WAL may need, the reserve is given up."""


class Reserve:
    """`log.reserve` beside the log."""

    def __init__(self, folder: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path, self._size_bytes = folder / "log.reserve", size_bytes

    @property
    def held(self) -> bool:
        """Whether it is there in its full size, and allocated: a sparse file keeps nothing back."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return found.st_size >= self._size_bytes and found.st_blocks * 512 >= self._size_bytes

    @property
    def short(self) -> bool:
        """Whether the partition has less left than the log may need at any moment."""
        return free_bytes(self._path.parent) < SHORT_BELOW_BYTES

    def release(self) -> bool:
        """Give the space back. True where there was something to give."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def hold(self) -> bool:
        """Allocate it, where that leaves enough for the log; True where it is there."""
        if self.held:
            return True
        self.release()
        if free_bytes(self._path.parent) < self._size_bytes + 2 * SHORT_BELOW_BYTES:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o660)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
        return self.held
