"""Looks at what sync says of itself, many times a second and at little cost: only what has changed is read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from aquasmart_station.adapters.live import read_service
from aquasmart_station.core.showing import ServiceState


class Eye:
    """On one station's live.db. The constructor stores its path only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._said: ServiceState | None = None

    def said(self) -> ServiceState | None:
        """What sync said last; None while it has said nothing."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection is None and self._path.exists():
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0.5)
            if self._connection is not None:
                # Read before the row is: a change in between is seen twice, never missed.
                version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
                if version != self._version:
                    self._said, self._version = read_service(self._path, "sync_state"), version
        return self._said

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
