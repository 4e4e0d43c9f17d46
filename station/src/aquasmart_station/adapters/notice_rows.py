"""Notices in ops.db: what the operator says to whoever stands before the station."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

LONGEST = 500


def newest(connection: sqlite3.Connection) -> int:
    """The number of the newest notice, 0 without any."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM notice").fetchone()[0])


def keep(connection: sqlite3.Connection, notice: object, now_ms: int) -> bool:
    """Keep a notice as the cloud sent it. False where it is none, or is here already."""
    if not isinstance(notice, Mapping):
        return False
    number, text, sent_at_ms = notice.get("number"), notice.get("text"), notice.get("sent_at")
    if not (isinstance(number, int) and isinstance(text, str) and isinstance(sent_at_ms, int)):
        return False
    plain = "".join(each for each in text[:LONGEST] if each.isprintable())
    return (
        connection.execute(
            "INSERT INTO notice (number, text, sent_at_ms, received_at_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (number) DO NOTHING",
            (number, plain, sent_at_ms, now_ms),
        ).rowcount
        == 1
    )


def latest(connection: sqlite3.Connection, limit: int = 5) -> list[dict[str, Any]]:
    """The latest notices, newest first."""
    rows = connection.execute(
        "SELECT number, text, sent_at_ms, received_at_ms FROM notice ORDER BY number DESC LIMIT ?", (limit,)
    )
    names = ("number", "text", "sent_at_ms", "received_at_ms")
    return [dict(zip(names, row, strict=True)) for row in rows]
