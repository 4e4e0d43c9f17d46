"""The master key while it changes: the file that holds it, and beside it the former or the coming one.

`FILE` is the key that seals; `FILE.previous` the former one, until everything is sealed anew; `FILE.next` one that will
be. Any of them opens. A running process reads them again when it must seal something, and when nothing it knows opens
a value: so it follows a `rekey` at once without being told. What is sealed where is not known here.

A kill at any moment leaves a `FILE` that is whole, since it is only ever replaced by a rename, and every key that
anything is sealed with in one of the three.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aquasmart_cloud.core.errors import SealError

PREVIOUS, NEXT = ".previous", ".next"
_KEY = re.compile(r"[0-9a-fA-F]{64}")

Seen = tuple[tuple[int, int, int] | None, ...]


class Keys(NamedTuple):
    """What the files hold."""

    current: bytes
    previous: bytes | None = None
    coming: bytes | None = None

    @property
    def former_and_coming(self) -> list[bytes]:
        """All but the current one, each once."""
        others = (self.previous, self.coming)
        return [key for key in dict.fromkeys(others) if key is not None and key != self.current]


class MasterKeys:
    """The keys of one process, shared by its threads. Replaced as a whole, so no lock is needed."""

    def __init__(self, current: bytes, file: Path | None = None) -> None:
        """With a file, it is looked at again whenever that matters; without one the key never changes."""
        self._file = file
        self._seen: Seen = ()
        self._keys = Keys(current)

    @property
    def file(self) -> Path | None:
        """Where the master key is kept."""
        return self._file

    def for_sealing(self) -> bytes:
        """The newest key. Ask within the transaction that stores what is sealed: see services.rekeying for why.

        Errors: SealError where the file cannot be read.
        """
        self._refresh()
        return self._keys.current

    def open(self, opened_by: Callable[[bytes], bytes]) -> bytes:
        """What a value opens to by the first key that fits. Errors: SealError where none does."""
        try:
            return self._try(opened_by)
        except SealError:
            if not self._refresh():
                raise
        return self._try(opened_by)

    def _try(self, opened_by: Callable[[bytes], bytes]) -> bytes:
        keys = self._keys
        try:
            return opened_by(keys.current)
        except SealError:
            for other in keys.former_and_coming:
                try:
                    return opened_by(other)
                except SealError:
                    continue
            raise

    def _refresh(self) -> bool:
        """Read the files again if they changed. False where they did not."""
        if self._file is None:
            return False
        seen = _look(self._file)
        if seen == self._seen:
            return False
        self._keys, self._seen = read_keys(self._file), seen
        return True


def read_keys(file: Path) -> Keys:
    """The keys that there are. Errors: SealError where one is none, or the current one is missing."""
    current = _read(file)
    if current is None:
        raise SealError(f"there is no master key {file}", "restore it from where you keep it (docs/runbook-keys.md)")
    return Keys(current, _read(beside(file, PREVIOUS)), _read(beside(file, NEXT)))


def beside(file: Path, ending: str) -> Path:
    """The former or the coming key's file."""
    return file.with_name(file.name + ending)


def write_key(file: Path, key: bytes, like: Path) -> None:
    """Make `file`, whole or not at all, on the disk, for nobody but the owner of `like`. Errors: OSError."""
    fresh = beside(file, ".unfinished")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.geteuid() == 0:
            # Made by root, it must still be readable for the cloud's own user.
            owner = like.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        os.write(handle, key.hex().encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    rename_durably(fresh, file)


def rename_durably(file: Path, name: Path) -> None:
    """One name or the other, also after a power cut. Errors: OSError."""
    file.rename(name)
    _sync_folder(name.parent)


def remove_durably(file: Path) -> None:
    """Errors: OSError."""
    file.unlink(missing_ok=True)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(file: Path) -> bytes | None:
    try:
        text = file.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as fault:
        raise SealError(
            f"the master key {file} cannot be read: {fault}", "its owner must be the cloud's user"
        ) from fault
    if not _KEY.fullmatch(text):
        raise SealError(f"{file} holds no master key", "it must be 64 hex digits; restore it from where you keep it")
    return bytes.fromhex(text)


def _look(file: Path) -> Seen:
    """What tells one state of the files from another: a rename brings another inode."""
    found: list[tuple[int, int, int] | None] = []
    for each in (file, beside(file, PREVIOUS), beside(file, NEXT)):
        try:
            state = each.stat()
        except OSError:
            found.append(None)
        else:
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(found)
