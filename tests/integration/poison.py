"""Rows in a station's log that no reader writes, with everything right about them but one thing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft, Kind, StreamHeader

TOO_DEEP: dict[str, Any] = {"a": None}
for _ in range(20):
    TOO_DEEP = {"a": TOO_DEEP}
"""Data that is deeper than the protocol's 16: the cloud says 422 `invalid`, whatever else is in the batch."""


def append_diagnostics(log: Path, figures: Sequence[dict[str, Any]]) -> str:
    """A run of the reader that wrote nothing but these, through the station's own writer. Gives its stream's id."""
    now_ms = time.time_ns() // 1_000_000
    header = StreamHeader(
        uuid4(), None, None, False, None, 0, None, 0, None, now_ms, "00000000-0000-4000-8000-000000000001", None,
        "9f86d081884c7d65", "0.1.0", "ntp",
    )  # fmt: skip
    writer = LogWriter(log)
    writer.open()
    try:
        drafts = [Draft(header, Kind.DIAGNOSTIC, now_ms + n, 1_000 + n, 0, data=each) for n, each in enumerate(figures)]
        writer.append(drafts)
    finally:
        writer.close()
    return str(header.id)


def head(log: Path) -> int:
    """The log's last position."""
    with closing(sqlite3.connect(log)) as connection:
        return int(connection.execute("SELECT max(position) FROM event").fetchone()[0])
