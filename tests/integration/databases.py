"""What the station's log and the cloud's database hold, read as any third party would: SQL, read-only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

KINDS = (
    *("volume", "catch_up", "gap", "merged", "disputed", "leak", "baseline", "reset", "meter_change", "rollover"),
    *("reverse", "pour", "anomaly", "diagnostic", "config_applied", "boot", "shutdown", "heartbeat", "degraded"),
)


class LogRow(NamedTuple):
    """One event of the station's log."""

    position: int
    stream: str
    meter_id: str | None
    seq: int
    kind: str
    at_ms: int
    mono_ms: int
    counts: int
    data: str | None


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        yield connection


def _all(path: Path, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with _reading(path) as connection:
        return connection.execute(query, values).fetchall()


class StationLog:
    """log.db of a station; empty while there is no file or no schema."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return _all(self.path, query, values)
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error) or "no such table" in str(error):
                return []
            raise

    def events(self) -> int:
        found = self._query("SELECT count(*) FROM event")
        return int(found[0][0]) if found else 0

    def rows(self, after_position: int = 0) -> list[LogRow]:
        found = self._query(
            "SELECT e.position, s.id, s.meter_id, e.seq, e.kind, e.at_ms, e.mono_ms, e.counts, e.data"
            " FROM event e JOIN stream s USING (stream) WHERE e.position > ? ORDER BY e.position",
            (after_position,),
        )
        return [LogRow(row[0], str(UUID(bytes=row[1])), row[2], row[3], KINDS[row[4]], *row[5:]) for row in found]

    def flagged(self, flag: int) -> tuple[int, int]:
        """How many of the meters' rows have this flag, and how many have not."""
        with_flag = "SELECT coalesce(sum(e.flags & ? <> 0), 0), count(*) FROM event e JOIN stream s USING (stream)"
        [(having, rows)] = self._query(f"{with_flag} WHERE s.meter_id IS NOT NULL", (flag,))
        return having, rows - having

    def raw(self) -> list[tuple[Any, ...]]:
        """Every column of every event, for comparing bytes before and after."""
        return self._query("SELECT * FROM event ORDER BY position")

    def last_seqs(self) -> dict[str, int]:
        """The highest seq of every stream."""
        found = self._query("SELECT s.id, max(e.seq) FROM event e JOIN stream s USING (stream) GROUP BY s.id")
        return {str(UUID(bytes=stream)): seq for stream, seq in found}

    def acknowledged(self) -> dict[str, int]:
        """The mark of every stream that has one."""
        found = self._query("SELECT s.id, d.acked_seq FROM delivery d JOIN stream s USING (stream)")
        return {str(UUID(bytes=stream)): seq for stream, seq in found}

    def pending(self) -> int:
        """Events beyond their stream's mark; -1 while the log is empty."""
        last = self.last_seqs()
        marks = self.acknowledged()
        return sum(seq - marks.get(stream, 0) for stream, seq in last.items()) if last else -1

    def await_kind(self, kind: str, meter_id: str | None = None, timeout_s: float = 30.0) -> LogRow:
        """The first event of a kind, waited for."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for row in self.rows():
                if row.kind == kind and row.meter_id == meter_id:
                    return row
            time.sleep(0.05)
        raise AssertionError(f"no {kind} event of {meter_id or 'the station'} in the log after {timeout_s:g} s")

    def integrity(self) -> str:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


class CloudBooks:
    """cloud.db, in the tables that the protocol's promises are about."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return _all(self.path, query, values)

    def marks(self) -> dict[str, int]:
        """The high-water mark of every stream."""
        found = self.query("SELECT stream, mark_seq FROM stream")
        return {str(UUID(str(stream))): seq for stream, seq in found}

    def events(self) -> int:
        return int(self.query("SELECT coalesce(sum(events), 0) FROM station")[0][0])

    def volume_ul(self) -> int:
        return int(self.query("SELECT coalesce(sum(volume_ul), 0) FROM station")[0][0])

    def batches(self) -> list[tuple[str, int, int]]:
        """(stream, from_seq, through_seq) of every stored batch, in stream order."""
        found = self.query("SELECT stream, from_seq, through_seq FROM batch ORDER BY stream, from_seq")
        return [(str(UUID(str(stream))), first, last) for stream, first, last in found]

    def differences(self) -> dict[str, int]:
        """Volume by name of every open difference in the ledger."""
        found = self.query("SELECT kind, sum(volume_ul) FROM ledger_entry WHERE state = 'open' GROUP BY kind")
        return {str(kind): int(volume) for kind, volume in found}

    def integrity(self) -> str:
        return str(self.query("PRAGMA integrity_check")[0][0])
