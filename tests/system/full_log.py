"""A log as large as it may become, written through the station's own writer: many counts, then long notes."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft, Kind, StreamHeader
from tests.integration.backlog import SCALE, START

ROWS_AT_ONCE = 5_000
COUNTING_ROWS = 200_000
LONG = {"note": "x" * 3_000}


def write_full_log(path: Path, size_bytes: int) -> None:
    """Two streams of an earlier run: counts of a meter, and what was noted until the file has the size."""
    began_ms = time.time_ns() // 1_000_000 - COUNTING_ROWS * 100
    writer = LogWriter(path)
    writer.open()
    counts = _header(began_ms, "tap-1")
    for start in range(0, COUNTING_ROWS, ROWS_AT_ONCE):
        writer.append([_counted(counts, began_ms, number) for number in range(start, start + ROWS_AT_ONCE)])
    notes = _header(began_ms, None)
    while path.stat().st_size < size_bytes:
        writer.append([Draft(notes, Kind.DIAGNOSTIC, began_ms, 1_000, 0, data=LONG) for _ in range(ROWS_AT_ONCE)])
    writer.close()


def _counted(header: StreamHeader, began_ms: int, number: int) -> Draft:
    kind = Kind.VOLUME if number else Kind.BASELINE
    # All of it before the meter's present count: the next reading goes on from there.
    at = number * 100
    return Draft(header, kind, began_ms + at, 1_000 + at, START - COUNTING_ROWS + number)


def _header(at_ms: int, meter_id: str | None) -> StreamHeader:
    ours = meter_id is not None
    return StreamHeader(
        id=uuid4(),
        meter_id=meter_id,
        identity=None,
        identity_strong=False,
        epoch=uuid4() if ours else None,
        epoch_from=START - COUNTING_ROWS if ours else 0,
        modulus=1 << 32 if ours else None,
        opening_counts=START - COUNTING_ROWS if ours else 0,
        scale=SCALE if ours else None,
        opened_at_ms=at_ms,
        boot_id="00000000-0000-4000-8000-000000000001",
        meter_boot_id="A1B2C3D4" if ours else None,
        hardware_id="9f86d081884c7d65",
        software="0.1.0",
        clock="ntp",
    )
