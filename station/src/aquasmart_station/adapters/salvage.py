"""Building a new log from what can be read of a damaged one.

The damaged files are only read (page_file.py), so a cut at any moment is repaired by starting again, with the same
result. Every row is verified by its own checksum, which covers its stream's identity, so it does not matter which page
it was found on, nor what led there. Unacknowledged rows are written first: if the disk fills up, it is with the others.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from ..core.errors import LogError
from ..core.model import Row, StreamHeader
from ..core.phrases import Phrase
from .examination import header_is_sound
from .log_file import log_fault, open_log, quoting_no_text, read_header
from .log_rows import row_crc32_of
from .page_file import PageFile
from .salvage_ends import settle_ends
from .salvage_figures import Figures

EVENT_COLUMNS, STREAM_COLUMNS, DELIVERY_COLUMNS, FENCE_COLUMNS = 11, 8, 6, 4
ROWS_A_COMMIT = 5_000
_LARGEST = 1 << 63

_INSERT_STREAM = "INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_DELIVERY = "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?)"
# A free page may still hold a row as it was before it was merged: what stands for more seqs is later.
_INSERT_EVENT = """
INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (position) DO UPDATE SET stream = excluded.stream, seq = excluded.seq, seqs = excluded.seqs,
  kind = excluded.kind, flags = excluded.flags, at_ms = excluded.at_ms, mono_ms = excluded.mono_ms,
  counts = excluded.counts, data = excluded.data, crc32 = excluded.crc32 WHERE excluded.seqs > event.seqs
"""


@dataclass(slots=True)
class _Found:
    """Everything but events, collected before the first row is written."""

    streams: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    headers: dict[int, StreamHeader] = field(default_factory=dict)
    marks: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    fence: int = 0
    bad_positions: set[int] = field(default_factory=set)


def salvage(damaged: Path, fresh: Path, *, skip_unreadable: bool = False) -> Figures:
    """Build the log `fresh` (which must not exist) from `damaged` and its -wal. Raises LogError, OSError.

    `skip_unreadable`: pages that the disk cannot give any more are done without; else they raise OSError.
    It is left open to more rows: `seal` makes it one durable file.
    """
    figures, found = Figures(), _Found()
    connection = open_log(fresh, create=True)
    try:
        # Durable at the end, by `seal`; until then a cut means starting again.
        connection.execute("PRAGMA synchronous = OFF")
        with PageFile(damaged, skip_unreadable=skip_unreadable) as pages:
            figures.pages = pages.versions
            for version in range(pages.versions):
                _collect(pages, version, found)
            _write_streams(connection, found)
            later = _copy_rows(connection, pages, found, range(pages.versions), acknowledged=False)
            try:
                _copy_rows(connection, pages, found, later, acknowledged=True)
            except sqlite3.OperationalError as fault:
                if fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                    raise
                connection.execute("ROLLBACK") if connection.in_transaction else None
                figures.acknowledged_left_behind = True
            figures.pages_unreadable = pages.unreadable
        settle_ends(connection, found.headers, found.marks, figures)
        _copy_other_tables(connection, damaged)
        connection.execute("UPDATE fence SET number = max(number, ?)", (found.fence,))
        _count(connection, found, figures)
    except sqlite3.Error as fault:
        raise log_fault(fault, Phrase("the salvaged log cannot be written: {fault}", fault=fault)) from fault
    finally:
        connection.close()
    return figures


def seal(fresh: Path) -> None:
    """Make `fresh` one file that needs no other. Raises LogError."""
    connection = open_log(fresh)
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as fault:
        raise log_fault(fault, Phrase("the salvaged log cannot be finished: {fault}", fault=fault)) from fault
    finally:
        connection.close()
    leftovers = [part for part in ("-wal", "-shm") if fresh.with_name(fresh.name + part).exists()]
    if busy or said != "ok" or leftovers:
        raise LogError(
            f"the salvaged log is not whole: {said} {' '.join(leftovers)}".strip(),
            hint=Phrase("Run `aquasmart check` again."),
        )


def _collect(pages: PageFile, version: int, found: _Found) -> None:
    """Stream headers, marks and the fence of one page. The pages of events are recognised by their first cell."""
    for cell in pages.cells(version):
        values = pages.values(cell)
        if values is None:
            continue
        match len(values):
            case columns if columns == EVENT_COLUMNS:
                return
            case columns if columns == STREAM_COLUMNS and header_is_sound(values[1], values[3]):
                _keep_stream(found, cell.rowid, values)
            case columns if columns == DELIVERY_COLUMNS and _whole(values[1:]):
                former = found.marks.get(cell.rowid)
                if former is None or (values[5], values[4]) >= (former[5], former[4]):  # the latest: fencing, then time
                    found.marks[cell.rowid] = (cell.rowid, *values[1:])
            case columns if columns == FENCE_COLUMNS and cell.rowid == 1 and _whole(values[1:]):
                found.fence = max(found.fence, int(values[1]))  # type: ignore[arg-type]


def _keep_stream(found: _Found, number: int, values: tuple[Any, ...]) -> None:
    """A header as it was found last; a stream never changes its identity, so another one here is a damaged row id."""
    former = found.streams.get(number)
    places_fit = isinstance(values[4], int) and all(isinstance(value, int | None) for value in values[5:])
    if places_fit and (former is None or former[1] == values[1]):
        header = read_header(values[3])
        if header.meter_id == values[2]:
            found.streams[number] = (number, *values[1:])
            found.headers[number] = header


def _write_streams(connection: sqlite3.Connection, found: _Found) -> None:
    identities: set[bytes] = set()
    connection.execute("BEGIN IMMEDIATE")
    for number, values in sorted(found.streams.items()):
        if values[1] in identities:
            del found.headers[number]
            continue
        identities.add(values[1])
        connection.execute(_INSERT_STREAM, values)
    connection.execute("COMMIT")


def _copy_rows(
    connection: sqlite3.Connection, pages: PageFile, found: _Found, versions: range | list[int], *, acknowledged: bool
) -> list[int]:
    """Copy one half of the rows. Gives the page versions that hold rows of the other half."""
    marks = {number: int(values[1]) for number, values in found.marks.items()}
    later: list[int] = []
    waiting: list[tuple[Any, ...]] = []
    for version in versions:
        other = False
        for values in _events(pages, version, found):
            if (values[2] <= marks.get(values[1], 0)) is acknowledged:
                waiting.append(values)
            else:
                other = True
        if other:
            later.append(version)
        if len(waiting) >= ROWS_A_COMMIT:
            _write_rows(connection, waiting)
            waiting = []
    _write_rows(connection, waiting)
    return later


def _write_rows(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT_EVENT, rows)
    connection.execute("COMMIT")


def _events(pages: PageFile, version: int, found: _Found) -> Iterator[tuple[Any, ...]]:
    """The sound rows of a page, with their positions; the unsound ones' positions are noted."""
    for cell in pages.cells(version):
        values = pages.values(cell)
        if values is None or len(values) != EVENT_COLUMNS:
            continue
        header = found.headers.get(values[1])  # type: ignore[arg-type]
        row = Row(cell.rowid, *values[2:10])  # type: ignore[arg-type]
        if header is not None and 0 < cell.rowid < _LARGEST and _holds(header.id, row, values[10]):
            yield (cell.rowid, *values[1:])
        else:
            found.bad_positions.add(cell.rowid)


def _holds(stream_id: UUID, row: Row, crc32: object) -> bool:
    try:
        return row_crc32_of(stream_id.bytes, row) == crc32
    except (struct.error, AttributeError, TypeError):
        return False


def _copy_other_tables(connection: sqlite3.Connection, damaged: Path) -> None:
    """Tables that a later schema added, where SQLite can still read them: each is small and none holds volume."""
    known = {"stream", "event", "delivery", "fence"}
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    others = [name for name in names if name not in known and not name.startswith("sqlite_")]
    for name in others:
        try:
            with_wal = damaged.with_name(damaged.name + "-wal").exists()
            source = sqlite3.connect(f"file:{damaged}?{'mode=ro' if with_wal else 'immutable=1'}", uri=True)
            try:
                with quoting_no_text():
                    rows = source.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608
            finally:
                source.close()
            places = ", ".join("?" * len(rows[0])) if rows else ""
            for values in rows:
                connection.execute(f'INSERT OR IGNORE INTO "{name}" VALUES ({places})', values)  # noqa: S608
        except sqlite3.Error:
            continue


def _count(connection: sqlite3.Connection, found: _Found, figures: Figures) -> None:
    # A row may be damaged in one version of its page and whole in another.
    for position in found.bad_positions:
        saved = connection.execute("SELECT 1 FROM event WHERE position = ?", (position,)).fetchone()
        figures.bad_rows += saved is None
    figures.streams = connection.execute("SELECT count(*) FROM stream").fetchone()[0]
    figures.rows = connection.execute("SELECT count(*) FROM event").fetchone()[0]
    figures.unacknowledged_rows = connection.execute(
        "SELECT count(*) FROM event LEFT JOIN delivery USING (stream) WHERE seq > coalesce(acked_seq, 0)"
    ).fetchone()[0]


def _whole(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)
