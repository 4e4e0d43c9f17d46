"""Logs for tests: several runs of a reader on one meter, partly acknowledged, and ways to damage their files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.encoding import Batch, encode_batch
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader
from aquasmart_station.services.check import Checker

START = 1_000_000
SCALE = Scale(20_000, 9)
EPOCH = UUID(int=7)
NOON_MS = 1_763_676_000_000


def header(meter_id: str | None = "tap-1", opening: int = START) -> StreamHeader:
    tap = meter_id is not None
    return StreamHeader(
        id=uuid4(),
        meter_id=meter_id,
        identity="SN 7" if tap else None,
        identity_strong=tap,
        epoch=EPOCH if tap else None,
        epoch_from=START if tap else 0,
        modulus=1 << 32 if tap else None,
        opening_counts=opening if tap else 0,
        scale=SCALE if tap else None,
        opened_at_ms=NOON_MS,
        boot_id="boot-1",
        meter_boot_id=None,
        hardware_id="9f86d081",
        software="0.1.0",
        clock="ntp",
    )


def drafts(of: StreamHeader, rows: int, start: int, at_ms: int, first: Kind = Kind.CATCH_UP) -> list[Draft]:
    """Rows of 3 counts each, 100 ms apart; the first of another kind."""
    return [
        Draft(of, Kind.VOLUME if n else first, at_ms + 100 * n, 1_000 + 100 * n, start + 3 * (n + 1))
        for n in range(rows)
    ]


def write_log(path: Path, *, runs: int = 3, rows: int = 200, acknowledged: int = 250) -> list[StreamHeader]:
    """Runs of `rows` rows each, one after the other, with a meterless row before each; the first rows acknowledged."""
    headers = []
    counts = START
    for run in range(runs):
        writer = LogWriter(path)
        writer.open()
        tap, own = header(opening=counts), header(None)
        writer.append([Draft(own, Kind.BOOT, NOON_MS, 1_000, 0, data={"clock": "ntp"})])
        first = Kind.CATCH_UP if run else Kind.BASELINE
        for start in range(0, rows, 50):
            part = drafts(tap, 50, counts, NOON_MS + (run * rows + start) * 100, first if start == 0 else Kind.VOLUME)
            writer.append(part)
            counts = part[-1].counts
        headers.append(tap)
        writer.close()
    acknowledge(path, acknowledged)
    return headers


def acknowledge(path: Path, rows: int) -> None:
    """Move marks over so many rows of the meter, as sync does after an answer."""
    outbox = Outbox(path)
    outbox.take_over(1)
    outbox.look()
    while rows > 0:
        lane = next(lane for lane in outbox.lanes.values() if lane.header.meter_id and lane.pending)
        batch = outbox.batch(lane, min(rows, 100))
        assert batch is not None
        outbox.move_mark(Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position), 5)
        rows -= len(batch.rows)
    outbox.close()


def checker(folder: Path) -> Checker:
    clock = iter(range(1, 1_000_000))
    return Checker(
        log=folder / "log.db",
        lock=folder / "log.lock",
        mono_s=lambda: next(clock) / 1_000,
        now_ms=lambda: NOON_MS + 3_600_000,
        mono_ms=lambda: 5_000_000,
        new_stream=lambda: header(None),
    )


def rows_of(path: Path) -> dict[int, tuple[Any, ...]]:
    """Every event by position, and its stream's identity."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            row[0]: row[1:]
            for row in connection.execute("SELECT position, s.id, e.* FROM event e JOIN stream s USING (stream)")
        }


def drain(path: Path) -> list[Batch]:
    """Everything that is undelivered, as sync would send it, each batch acknowledged."""
    outbox = Outbox(path)
    outbox.take_over(9)
    outbox.look()
    batches = []
    while (lane := outbox.next_lane()) is not None:
        batch = outbox.batch(lane, 70)
        if batch is None:
            break
        json.loads(encode_batch(batch, trace_id="0" * 32, whole_header=batch.first_seq == 1))
        batches.append(batch)
        outbox.move_mark(Mark(lane.number, batch.through_seq, batch.counts_through, batch.through_position), 9)
    assert outbox.pending == 0, "something would be pending for ever"
    outbox.close()
    return batches


def delivered_counts(path: Path) -> list[tuple[int, int]]:
    """The intervals of counts that the cloud gets in all: what is acknowledged, and what will be sent."""
    with closing(sqlite3.connect(path)) as connection:
        headers = dict(connection.execute("SELECT stream, header FROM stream WHERE meter_id IS NOT NULL"))
        acked = dict(connection.execute("SELECT stream, acked_counts FROM delivery"))
    intervals = [(json.loads(text)["opening_counts"], acked[n]) for n, text in headers.items() if n in acked]
    sent = [batch for batch in drain(path) if batch.header.meter_id is not None]
    intervals += [(batch.counts_before, batch.counts_through) for batch in sent]
    return sorted(interval for interval in intervals if interval[0] < interval[1])


def merged(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals joined where they touch; overlaps joined too."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def next_run(path: Path, counts: int) -> None:
    """What the reader does when it starts again: resume, and catch up to what the meter shows now."""
    writer = LogWriter(path)
    writer.open()
    resume = writer.resume("tap-1")
    if resume is None:
        writer.append(
            [Draft(replace(header(opening=counts), epoch=uuid4(), epoch_from=counts), Kind.BASELINE, 1, 1, counts)]
        )
    else:
        opened = replace(resume.header, id=uuid4(), opening_counts=resume.counts)
        writer.append([Draft(opened, Kind.CATCH_UP, NOON_MS + 10_000_000, 1, counts)])
    writer.close()


def flip(path: Path, *offsets: int, bit: int = 0x10) -> None:
    """Flip a bit at each offset."""
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= bit
    path.write_bytes(bytes(data))


def pages_of(path: Path, table: str, kind: str = "leaf") -> list[int]:
    """Page numbers of a table's leaf or interior pages, by their first byte, walked from the root."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    data = path.read_bytes()
    found: list[int] = []
    waiting = [root]
    while waiting:
        number = waiting.pop()
        page = data[(number - 1) * 1024 : number * 1024]
        interior = page[0] == 0x05
        if interior == (kind == "interior"):
            found.append(number)
        if interior:
            cells = int.from_bytes(page[3:5], "big")
            pointers = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i], "big") for i in range(cells)]
            waiting += [int.from_bytes(page[8:12], "big"), *(int.from_bytes(page[p : p + 4], "big") for p in pointers)]
    return sorted(found)
