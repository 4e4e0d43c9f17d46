"""How much room the log takes and has: numbers of its header and of the file system, for the reader and for people."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..core.errors import LogError
from ..core.phrases import Phrase
from ..core.retention import DiskUse, Limits, budget_bytes
from .log_file import JOURNAL_LIMIT_BYTES, free_bytes
from .reserve import RESERVE_BYTES, Reserve


def limits(path: Path, configured_bytes: int | None, retention_ms: int) -> Limits:
    """What the log of this configuration may take on the partition it is on. Raises LogError."""
    try:
        found = os.statvfs(path.parent)
    except OSError as fault:
        raise LogError(
            Phrase("{parent} cannot be asked for its size: {strerror}", parent=path.parent, strerror=fault.strerror)
        ) from fault
    return Limits(budget_bytes(configured_bytes, found.f_blocks * found.f_frsize), retention_ms, JOURNAL_LIMIT_BYTES)


def disk_use(connection: sqlite3.Connection, path: Path) -> DiskUse:
    """What the log takes just now. Raises sqlite3.Error."""
    size, pages, spare = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    wal = path.with_name(path.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    return DiskUse((pages - spare) * size, spare * size, wal_bytes, free_bytes(path.parent))


def may_yet_need(path: Path, configured_bytes: int | None, retention_ms: int) -> int:
    """How much of the partition's free room the log may still come to need: up to its budget, its write-ahead log at
    full size, and the reserve where that is not held just now. Whoever else writes there leaves so much free."""
    try:
        budget = limits(path, configured_bytes, retention_ms).budget_bytes
        log_bytes = path.stat().st_size if path.exists() else 0
        wal = path.with_name(path.name + "-wal")
        wal_bytes = wal.stat().st_size if wal.exists() else 0
    except (LogError, OSError):
        return 1 << 62
    reserve_bytes = 0 if Reserve(path.parent).held else RESERVE_BYTES
    return max(0, budget - log_bytes) + max(0, JOURNAL_LIMIT_BYTES - wal_bytes) + reserve_bytes
