"""A log with rows that the cloud will never take, made by a hand that knows the file's format."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

from aquasmart_station.adapters.log_rows import row_crc32
from aquasmart_station.core.model import Row
from tests.integration.world import World

TOO_LONG = json.dumps({"note": "x" * 20_000})
"""Data that are well formed and longer than the protocol allows (docs/protocol.md §4)."""

TOO_DEEP = '{"a":' * 14 + "1" + "}" * 14
"""Deeper by one than a batch may hold, and not too deep for an operation: as if the cloud had been mended since."""


def world_with_rows(world: World, events: int) -> World:
    """A station whose log holds so many events that nobody has delivered yet; its reader has stopped."""
    world.prepare()
    world.take_baseline()
    world.await_flow(events=events)
    assert world.site.stop("reader") == 0
    return world


def tap_stream(path: Path) -> tuple[int, UUID, list[int]]:
    """Number, id and seqs of the stream of the tap with the most rows."""
    with closing(sqlite3.connect(path)) as log:
        number, raw_id = log.execute(
            "SELECT s.stream, s.id FROM stream s JOIN event e USING (stream) WHERE s.meter_id IS NOT NULL"
            " GROUP BY s.stream ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        seqs = [row[0] for row in log.execute("SELECT seq FROM event WHERE stream = ? ORDER BY seq", (number,))]
    return number, UUID(bytes=raw_id), seqs


def poison(path: Path, number: int, stream: UUID, seqs: list[int], data: str = TOO_LONG) -> None:
    """Give events data that the cloud refuses, with a checksum that holds: a fault of the software, not of the card."""
    with closing(sqlite3.connect(path)) as log, log:
        for seq in seqs:
            found = log.execute(
                "SELECT position, seq, seqs, kind, flags, at_ms, mono_ms, counts, data FROM event"
                " WHERE stream = ? AND seq = ?",
                (number, seq),
            ).fetchone()
            row = Row._make(found)._replace(kind=12, data=data)
            log.execute(
                "UPDATE event SET kind = ?, data = ?, crc32 = ? WHERE position = ?",
                (row.kind, row.data, row_crc32(stream, row), row.position),
            )


def mend(path: Path, number: int, stream: UUID, seqs: list[int]) -> None:
    """The opposite: the software that wrote such data was mended."""
    poison(path, number, stream, seqs, data='{"note":"short"}')
