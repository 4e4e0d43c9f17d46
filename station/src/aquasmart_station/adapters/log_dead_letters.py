"""Dead letters in log.db: recording one, and reading them back. The table's one writer is sync.

A dead letter holds its row whole, because its event counts as delivered and is pruned like any other.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.bisecting import Verdict
from ..core.encoding import as_gap, compact, header_document
from ..core.errors import LogError
from ..core.model import Kind, Row, StreamHeader
from ..core.phrases import Phrase
from .log_file import open_log_read_only, read_header, trouble

_BURY = """
INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
ON CONFLICT (stream, seq) DO UPDATE SET code = excluded.code, detail = excluded.detail, trace_id = excluded.trace_id,
  at_ms = excluded.at_ms, fencing = excluded.fencing
"""
_ALL = """
SELECT d.stream, s.header, d.seq, d.counts_before, d.row, d.code, d.detail, d.trace_id, d.at_ms, d.resent_at_ms
FROM dead_letter d JOIN stream s ON s.stream = d.stream ORDER BY d.at_ms, d.stream, d.seq
"""
_PLACES = "SELECT stream, seq, row, at_ms, resent_at_ms FROM dead_letter"
_RESENT = """
UPDATE dead_letter SET resent_at_ms = ? WHERE seq = ? AND stream = (SELECT stream FROM stream WHERE id = ?)
"""
_FIELDS = ("seqs", "kind", "flags", "at_ms", "mono_ms", "counts", "data")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its stream a dead letter stands, and since when."""

    seqs: int
    at_ms: int
    resent: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that the cloud refuses, with the reason it gave."""

    stream_no: int
    header: StreamHeader
    row: Row
    counts_before: int
    code: str
    detail: str
    trace_id: str
    at_ms: int
    resent_at_ms: int | None

    @property
    def name(self) -> str:
        """What people call it by: `stream:seq`."""
        return f"{self.header.id}:{self.row.seq}"

    def document(self) -> dict[str, Any]:
        """For programs, exports and the operation that sends it again. Volumes are those of its counts, in µl."""
        header, row = self.header, self.row
        volume_ul = header.scale.volume_ul(self.counts_before, row.counts) if header.scale else 0
        return {
            "stream": str(header.id),
            "seq": row.seq,
            "meter_id": header.meter_id,
            "code": self.code,
            "detail": self.detail,
            "trace_id": self.trace_id,
            "refused_at": self.at_ms,
            "resent_at": self.resent_at_ms,
            "counts_before": self.counts_before,
            "volume_ul": volume_ul,
            "row": row_document(row),
        }

    def export(self) -> dict[str, Any]:
        """The same with the stream's header, so that the file stands for itself."""
        return self.document() | {"header": header_document(self.header)}


def bury(
    connection: sqlite3.Connection,
    stream_no: int,
    row: Row,
    counts_before: int,
    against: Verdict,
    now_ms: int,
    fencing: int,
) -> None:
    """Record a dead letter, within the transaction that moves the mark past its gap. Repeatable."""
    refused = against.refused
    text = compact(row_document(row))
    values = (stream_no, row.seq, counts_before, text, refused.code, refused.detail, against.trace_id, now_ms, fencing)
    connection.execute(_BURY, values)


def mark_resent(connection: sqlite3.Connection, stream_id: bytes, seq: int, now_ms: int) -> None:
    """A retry by hand was taken by the cloud: the gap's entry there has the event now."""
    connection.execute(_RESENT, (now_ms, seq, stream_id))


def places(connection: sqlite3.Connection) -> dict[int, dict[int, Place]]:
    """Which events are dead letters, by stream and seq. Empty for a log of an older version."""
    try:
        found = connection.execute(_PLACES).fetchall()
    except sqlite3.OperationalError as fault:
        if "no such table" in str(fault):
            return {}
        raise
    known: dict[int, dict[int, Place]] = {}
    for stream, seq, text, at_ms, resent_at_ms in found:
        known.setdefault(stream, {})[seq] = Place(json.loads(text)["seqs"], at_ms, resent=resent_at_ms is not None)
    return known


def with_gaps_for_dead(rows: Any, dead: Mapping[int, Place]) -> Any:
    """Rows with the gap in each dead letter's place, the same on every retry. A row that was merged since stays."""
    first, last = rows[0].seq - rows[0].seqs, rows[-1].seq
    if not any(first < seq <= last for seq in dead):
        return rows
    return [as_gap(row) if row.seq in dead and dead[row.seq].seqs == row.seqs else row for row in rows]


def read_dead_letters(path: Path) -> list[DeadLetter]:
    """Every dead letter of a log, the oldest first. Raises LogError."""
    connection = open_log_read_only(path)
    try:
        found = connection.execute(_ALL).fetchall()
    except sqlite3.OperationalError as fault:
        if "no such table" in str(fault):
            return []
        raise trouble(path, fault, Phrase("the dead letters cannot be read")) from fault
    finally:
        connection.close()
    return [_letter(values) for values in found]


def row_document(row: Row) -> dict[str, Any]:
    """A row for people and programs: its kind by name."""
    names = {kind.value: kind.wire for kind in Kind}
    document = {"seq": row.seq, **{name: getattr(row, name) for name in _FIELDS}}
    document["kind"] = names.get(row.kind, f"kind-{row.kind}")
    document["data"] = None if row.data is None else json.loads(row.data)
    return document


def _row(text: str) -> Row:
    document = json.loads(text)
    numbers = {kind.wire: kind.value for kind in Kind}
    kind = document["kind"]
    number = numbers[kind] if kind in numbers else int(kind.removeprefix("kind-"))
    data = None if document["data"] is None else compact(document["data"])
    times = (document["at_ms"], document["mono_ms"], document["counts"])
    return Row(0, document["seq"], document["seqs"], number, document["flags"], *times, data)


def _letter(values: tuple[Any, ...]) -> DeadLetter:
    stream_no, header, _, counts_before, row, code, detail, trace_id, at_ms, resent_at_ms = values
    try:
        return DeadLetter(
            stream_no, read_header(header), _row(row), counts_before, code, detail, trace_id, at_ms, resent_at_ms
        )
    except (ValueError, KeyError, TypeError) as fault:
        raise LogError(Phrase("a dead letter in the log is damaged"), hint=Phrase("Run `aquasmart check`.")) from fault
