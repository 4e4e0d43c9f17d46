"""/var/lib/aquasmart-update: the bundle while it is fetched, how far it has come, and what the image says of itself.

Written by one process, which holds `update.lock`. A piece is on the disk when `append` returns; the file's length says
how much there is. What a power cut makes of the last piece is found when the whole file is read back and compared.
Pieces are small, so that a commit of the log never waits for more than one of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import StationError
from ..core.maintenance import Image, Progress, read_progress
from ..core.phrases import Phrase
from ..core.signing import same
from .durable_files import sync_folder, write_durably
from .log_file import free_bytes

READ_BYTES = 8 << 20
"""Of a file that is read back, in one go: a Pi takes a tenth of a second for it."""


class UpdateFault(StationError):
    """The folder of updates cannot be read or written; nothing of the station's counting depends on it."""


@dataclass(slots=True)
class _Check:
    """A file being read back."""

    offset: int
    digest: Any


class UpdateFolder:
    """The folder's files. The constructor stores its path only."""

    def __init__(self, folder: Path, image_file: Path) -> None:
        self.folder, self._image_file = folder, image_file
        self._part, self.bundle = folder / "bundle.part", folder / "bundle.raucb"
        self._state = folder / "state.json"
        self._check: _Check | None = None

    def make(self) -> None:
        """Make it where it is missing, for its owner alone. Raises UpdateFault."""
        with self._faults("made"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # How far it has come

    def read_progress(self) -> Progress | None:
        """What was kept; None where there is nothing, or nothing that can be understood. Raises UpdateFault."""
        with self._faults("read"):
            try:
                text = self._state.read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                return None
        try:
            return read_progress(json.loads(text))
        except (ValueError, RecursionError):
            return None

    def write_progress(self, progress: Progress) -> None:
        """Whole or not at all, and there after a power cut. Raises UpdateFault."""
        with self._faults("written"):
            write_durably(self._state, json.dumps(progress.document()))

    def forget_progress(self) -> None:
        """As if there had been no update. Raises UpdateFault."""
        with self._faults("written"):
            self._state.unlink(missing_ok=True)
            sync_folder(self.folder)

    # The bundle

    def have_bytes(self) -> int:
        """How much of the bundle there is."""
        for path in (self.bundle, self._part):
            with contextlib.suppress(OSError):
                return path.stat().st_size
        return 0

    def append(self, offset: int, piece: bytes) -> None:
        """Put a piece behind what is there. Raises UpdateFault, and where the file is not that long."""
        with self._faults("written"):
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size != offset:
                    raise OSError(0, "its length is not what it was")
                left = memoryview(piece)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def check_on(self, sha256: str, size_bytes: int) -> bool | None:
        """Read the file back, a portion at each call; None while there is more to read. True: it is that bundle, under
        its final name. False: it is not, and is gone. Raises UpdateFault."""
        path = self.bundle if self.bundle.exists() else self._part
        with self._faults("read back"):
            check = self._check or _Check(0, hashlib.sha256())
            with path.open("rb") as file:
                file.seek(check.offset)
                piece = file.read(READ_BYTES)
                os.posix_fadvise(file.fileno(), check.offset, len(piece), os.POSIX_FADV_DONTNEED)
            check.digest.update(piece)
            check.offset += len(piece)
            if piece and check.offset < size_bytes:
                self._check = check
                return None
            self._check = None
            if not same(check.digest.hexdigest(), sha256) or path.stat().st_size != size_bytes:
                self.clear()
                return False
            if path == self._part:
                self._part.rename(self.bundle)
                sync_folder(self.folder)
        return True

    def clear(self) -> None:
        """Remove the bundle, whole or not. Raises UpdateFault."""
        self._check = None
        with self._faults("removed"):
            for path in (self._part, self.bundle):
                path.unlink(missing_ok=True)
            sync_folder(self.folder)

    # The image and the room

    def image(self) -> Image | None:
        """What the present image says of itself; None where it says nothing that can be understood."""
        try:
            said = json.loads(self._image_file.read_text(encoding="utf-8"))
            version, number, compatible = said["version"], said["number"], said["compatible"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        fit = isinstance(version, str) and type(number) is int and isinstance(compatible, str)
        return Image(version, number, compatible) if fit else None

    def highest_good(self) -> int:
        """The highest number that was marked good on this station; 0 where none was, or where that is unreadable."""
        try:
            return max(0, int((self.folder / "highest-good").read_text(encoding="ascii").strip()))
        except (OSError, ValueError):
            return 0

    def free_bytes(self) -> int:
        """What the partition still takes. Raises UpdateFault."""
        with self._faults("asked for its room"):
            return free_bytes(self.folder)

    def shares_partition(self, other: Path) -> bool:
        """Whether another folder lies on the same partition: what is written here is then lacking there."""
        try:
            return self.folder.stat().st_dev == other.stat().st_dev
        except OSError:
            return True

    @contextlib.contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise UpdateFault(
                Phrase(
                    "{folder} cannot be used for updates ({what}): {reason}",
                    folder=self.folder,
                    what=what,
                    reason=reason,
                ),
                hint=Phrase("Is there room on the data partition, and is the folder root's?"),
            ) from fault
