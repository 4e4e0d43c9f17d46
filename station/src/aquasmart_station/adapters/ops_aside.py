"""A damaged ops.db is moved aside whole, never opened again and never deleted: a person may look at it."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import OpsError
from ..core.phrases import Phrase
from .durable_files import sync_folder


def set_aside(path: Path, now_ms: int) -> Path:
    """Move the file with its -wal and -shm, the latter two first: a new file must not find them. Its new name.

    The cloud's settings come again by themselves, and so do notices; operations that were queued in it stand in the
    file for a person. Raises OpsError.
    """
    target = path.with_name(f"{path.name}.damaged-{now_ms}")
    try:
        for end in ("-wal", "-shm", ""):
            part = path.with_name(path.name + end)
            if part.exists():
                part.rename(target.with_name(target.name + end))
        sync_folder(path.parent)
    except OSError as fault:
        raise OpsError(
            Phrase("{path} cannot be set aside: {strerror}", path=path, strerror=fault.strerror),
            hint=Phrase("Is the disk writable?"),
        ) from fault
    return target
