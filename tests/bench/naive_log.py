"""The log as one would write it at first: a random text key, a commit per event, and a flag for what was sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from aquasmart_station.core.model import Draft

SENT_TOGETHER = 50
_SCHEMA = """
CREATE TABLE events (
  id TEXT PRIMARY KEY, station_id TEXT NOT NULL, created_at REAL NOT NULL, payload TEXT NOT NULL,
  sent INTEGER NOT NULL DEFAULT 0
)
"""


def naive_row(draft: Draft, station_id: str) -> dict[str, object]:
    """One event as a JSON object of its own, as row-wise senders have it."""
    return {
        "event_id": str(uuid4()),
        "station_id": station_id,
        "meter_id": draft.stream.meter_id,
        "timestamp": draft.at_ms / 1000,
        "counts": draft.counts,
        "kind": "volume",
    }


class NaiveLog:
    """Durable as ours is (WAL, synchronous=FULL): the comparison is of layouts, not of promises."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_SCHEMA)
        self._connection.execute("CREATE INDEX ix_unsent ON events (sent, created_at)")

    def append(self, drafts: Iterable[Draft]) -> None:
        """One transaction per event; after every fifty, they are marked as sent."""
        for number, draft in enumerate(drafts, 1):
            self._insert(draft)
            if number % SENT_TOGETHER == 0:
                self.mark_sent(self.unsent())

    def fill(self, drafts: Iterable[Draft]) -> None:
        """Many events in one transaction: how they came to be here is not what is measured."""
        self._connection.execute("BEGIN")
        for draft in drafts:
            self._insert(draft)
        self._connection.execute("COMMIT")

    def unsent(self) -> list[tuple[str, str]]:
        return self._connection.execute(
            "SELECT id, payload FROM events WHERE sent = 0 ORDER BY created_at LIMIT ?", (SENT_TOGETHER,)
        ).fetchall()

    def mark_sent(self, rows: list[tuple[str, str]]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("UPDATE events SET sent = 1 WHERE id = ?", [(row[0],) for row in rows])
        self._connection.execute("COMMIT")

    def _insert(self, draft: Draft) -> None:
        row = naive_row(draft, "bench-1")
        self._connection.execute(
            "INSERT INTO events (id, station_id, created_at, payload) VALUES (?, ?, ?, ?)",
            (row["event_id"], "bench-1", row["timestamp"], json.dumps(row)),
        )

    def close(self) -> None:
        self._connection.close()
