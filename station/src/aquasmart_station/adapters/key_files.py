"""Keys that followed the first one, in files that only their owner can read.

One file a key, `000001.k2-5f3a9c01.key`, 64 hex digits; the number says which is newer, since a clock may be wrong.
A file is whole or not there: temporary name → fsync → rename → fsync of the folder. None is ever changed or removed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..core.errors import StationError
from ..core.phrases import Phrase
from .durable_files import sync_folder

_NAME = re.compile(r"([0-9]{6})\.([A-Za-z0-9._-]{1,64})\.key")
_KEY = re.compile(r"[0-9a-f]{64}")


def keys_folder(state_dir: Path) -> Path:
    """Where rotated keys are kept."""
    return state_dir / "keys"


def read_keys(folder: Path) -> list[tuple[str, bytes]]:
    """Key ids and keys, newest first. A file that cannot be a key is passed over: the former key still opens the way.

    Raises StationError where the folder is there and cannot be read.
    """
    found: list[tuple[int, str, bytes]] = []
    try:
        names = sorted(each.name for each in folder.iterdir()) if folder.exists() else []
        for name in names:
            match = _NAME.fullmatch(name)
            text = (folder / name).read_text(encoding="ascii", errors="replace").strip() if match else ""
            if match and _KEY.fullmatch(text):
                found.append((int(match[1]), match[2], bytes.fromhex(text)))
    except OSError as fault:
        raise StationError(
            Phrase("the keys in {folder} cannot be read: {strerror}", folder=folder, strerror=fault.strerror),
            hint=Phrase("They belong to the user of the services."),
        ) from fault
    return [(key_id, key) for _, key_id, key in sorted(found, reverse=True)]


def write_key(folder: Path, key_id: str, key: bytes) -> None:
    """Keep a key, durably, before it is used. The same again changes nothing. Raises StationError.

    Killed at any point, the folder holds the whole key or none: nobody has used it yet then, so that nothing is lost.
    """
    if (key_id, key) in read_keys(folder):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)
        taken = [int(match[1]) for match in map(_NAME.fullmatch, os.listdir(folder)) if match]  # noqa: PTH208
        target = folder / f"{max(taken, default=0) + 1:06}.{key_id}.key"
        fresh = target.with_suffix(".part")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"{key.hex()}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, target)  # noqa: PTH104
        sync_folder(folder)
    except OSError as fault:
        raise StationError(
            Phrase("the new key cannot be kept in {folder}: {strerror}", folder=folder, strerror=fault.strerror),
            hint=Phrase("The former key stays in use."),
        ) from fault
