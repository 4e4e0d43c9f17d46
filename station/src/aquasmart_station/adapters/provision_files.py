"""The files that provisioning makes, and the wiping of what it has moved: durable at each step, repeatable at any cut.

A file is whole or not there: temporary name beside it → fsync → rename → fsync of the folder, with its mode from the
first moment. Secrets are overwritten in place at their own length: the clusters of a FAT partition stay the same, no
second copy comes about. What a flash card keeps in its spare blocks is beyond any software (docs/decisions/0043).
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
from pathlib import Path

from ..core.errors import StationError
from ..core.phrases import Phrase
from .durable_files import sync_folder

PRIVATE, GROUP, PUBLIC = 0o600, 0o640, 0o644


class CannotWrite(StationError):
    """A file of the station could not be written."""


def put(path: Path, text: str, mode: int) -> bool:
    """Write `path` whole, durably, with `mode`; False where it was like that already. Raises CannotWrite."""
    data = text.encode()
    try:
        if path.is_file() and path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
            sync_folder(path.parent)  # a run that was cut may have renamed and not yet synced
            return False
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700 if mode == PRIVATE else 0o755, parents=True)
        fresh = path.with_name(f".{path.name}.part")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
            _write_all(descriptor, data, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)  # noqa: PTH104
        sync_folder(path.parent)
    except OSError as fault:
        raise CannotWrite(
            Phrase("{path} cannot be written: {strerror}", path=path, strerror=fault.strerror),
            hint=Phrase("Run it as root, on a partition that can be written."),
        ) from fault
    return True


def point(link: Path, target: str) -> bool:
    """A link in the same folder, replaced whole; False where it was like that already. Raises CannotWrite."""
    try:
        if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115
            return False
        fresh = link.with_name(f".{link.name}.part")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        os.rename(fresh, link)  # noqa: PTH104
        sync_folder(link.parent)
    except OSError as fault:
        raise CannotWrite(
            Phrase("{link} cannot be made: {strerror}", link=link, strerror=fault.strerror),
            hint=Phrase("Run it as root."),
        ) from fault
    return True


def give_to_group(path: Path, group: str) -> None:
    """Let a group read a file, where the machine has the group and we are root. Raises CannotWrite."""
    try:
        if os.geteuid() == 0:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        return
    except OSError as fault:
        raise CannotWrite(
            Phrase("{path} cannot be given to {group}: {strerror}", path=path, group=group, strerror=fault.strerror)
        ) from fault


def remove(path: Path) -> None:
    """Take a file away, durably. Raises CannotWrite."""
    try:
        os.unlink(path)  # noqa: PTH108
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise CannotWrite(Phrase("{path} cannot be removed: {strerror}", path=path, strerror=fault.strerror)) from fault


class Wiping:
    """Overwrites ranges of a file in place. The intent is on the disk before the first byte goes, without any secret
    in it, so that a wiping that was cut is known as one: half a password is not taken for a password."""

    def __init__(self, intent: Path) -> None:
        self._intent = intent

    def begin(self, path: Path, ranges: list[tuple[int, int]]) -> None:
        """Note what will be overwritten, then do it. Raises CannotWrite."""
        data = path.read_bytes()
        note = {"path": str(path), "ranges": ranges, "sha256": _masked(data, ranges)}
        put(self._intent, json.dumps(note), PRIVATE)
        self._overwrite(path, ranges)

    def finish(self, path: Path) -> bool:
        """End a wiping of `path` that was cut; False where there was none, or the file has been edited since."""
        try:
            note = json.loads(self._intent.read_text())
            ranges = [(int(offset), int(length)) for offset, length in note["ranges"]]
            same = note["path"] == str(path) and note["sha256"] == _masked(path.read_bytes(), ranges)
        except (OSError, ValueError, KeyError, TypeError):
            same, ranges = False, []
        if same:
            self._overwrite(path, ranges)
        elif self._intent.exists():
            remove(self._intent)
        return bool(same)

    def _overwrite(self, path: Path, ranges: list[tuple[int, int]]) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for offset, length in ranges:
                    _write_all(descriptor, b"*" * length, offset)
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise CannotWrite(
                Phrase("the secrets in {path} cannot be wiped: {strerror}", path=path, strerror=fault.strerror),
                hint=Phrase(
                    "The station is provisioned. Remove the file yourself, or make its partition writable and repeat."
                ),
            ) from fault
        remove(self._intent)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _masked(data: bytes, ranges: list[tuple[int, int]]) -> str:
    """A hash of everything but the secrets."""
    found = bytearray(data)
    for offset, length in ranges:
        found[offset : offset + length] = b"*" * length
    return hashlib.sha256(found).hexdigest()
