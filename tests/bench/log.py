"""What the station's log costs: flash bytes per event, the time of a durable append, recovery after `kill -9`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft

from .figures import Figure, Sizes, percentile
from .flash import Flash, NoFlash, flash
from .naive_log import NaiveLog
from .water import drafts, stream_header

LINGER_EVENTS = 20
"""At 10 Hz, sync moves its mark about every 2 s."""
INTERVALS = ((0.1, 1, None), (1, 10, 450), (10, 100, 140))
"""Commit interval in s, events per commit at 10 Hz, budget in bytes per event."""
CARD_YEARS = "log.card_years.commit_1s_with_marks"
CARD_BYTES, CARD_CYCLES, AMPLIFICATION = 16_000_000_000, 3_000, 4
"""A 16 GB card of ordinary (TLC) flash: each cell is written 3,000 times, the card writes four times what it is given.
Assumptions, the same for every scheme; the card's other parts do not last as long as the years that come out."""
DAY_EVENTS = 2 * 3_600 * 10 + 22 * 12
"""A busy tap: water runs for two hours a day at ten readings a second; a row each five minutes of the rest."""


def measure(sizes: Sizes) -> Iterator[Figure]:
    """Flash bytes on a file system of our own; appends there too, or in a temporary folder without one."""
    try:
        with flash() as disk:
            yield from _flash_figures(disk, sizes)
            yield from _append_figures(disk.folder, sizes)
    except NoFlash as reason:
        for interval_s, _, budget in INTERVALS:
            yield Figure(f"log.flash.commit_{interval_s:g}s", None, "B/event", budget, why_not=str(reason))
        yield Figure(CARD_YEARS, None, "years", why_not=str(reason))
        with tempfile.TemporaryDirectory(prefix="aquasmart-bench-") as name:
            yield from _append_figures(Path(name), sizes)


def _flash_figures(disk: Flash, sizes: Sizes) -> Iterator[Figure]:
    naive_bytes = _naive_bytes_per_event(disk, sizes)
    for interval_s, events, budget in INTERVALS:
        value = _bytes_per_event(disk, sizes, events, marks=False)
        name = f"log.flash.commit_{interval_s:g}s"
        yield Figure(name, value, "B/event", budget, reference=naive_bytes, reference_is="naive scheme")
    value = _bytes_per_event(disk, sizes, 10, marks=True)
    name = "log.flash.commit_1s_with_marks"
    yield Figure(name, value, "B/event", reference=naive_bytes, reference_is="naive scheme, which marks its rows too")
    yield Figure(
        CARD_YEARS,
        card_years(value),
        "years",
        reference=card_years(naive_bytes),
        reference_is="naive scheme; a 16 GB card, 3,000 cycles, amplification 4, two hours of water a day",
    )


def card_years(bytes_per_event: float) -> float:
    """How long a card lasts by its flash alone."""
    return CARD_BYTES * CARD_CYCLES / AMPLIFICATION / (bytes_per_event * DAY_EVENTS * 365.25)


def _bytes_per_event(disk: Flash, sizes: Sizes, events: int, *, marks: bool) -> float:
    """In the steady state: after the WAL has reached its full size, over several checkpoints."""
    path = disk.folder / f"log-{events}-{marks}.db"
    writer, source = LogWriter(path), drafts(stream_header())
    writer.open()
    sync = _Marks(path, writer, source) if marks else None
    warm, measured = _commits(sizes, events)
    for _ in range(warm):
        writer.append(list(islice(source, events)))
    before = disk.bytes_written()
    for number in range(1, measured + 1):
        rows = writer.append(list(islice(source, events)))
        if sync and number * events % LINGER_EVENTS == 0:
            sync.move(rows[-1].seq, rows[-1].counts, rows[-1].position)
    written = disk.bytes_written() - before
    if sync:
        sync.close()
    writer.close()
    path.unlink(missing_ok=True)
    return written / (measured * events)


def _commits(sizes: Sizes, events: int) -> tuple[int, int]:
    """Fewer commits where each holds more: the same number of pages fills the WAL."""
    share = max(1, events // 20)
    return max(1, sizes.warm_commits // share), max(1, sizes.commits // share)


class _Marks:
    """The sync service's writes: its high-water mark, in a connection of its own."""

    def __init__(self, path: Path, writer: LogWriter, source: Iterator[Draft]) -> None:
        writer.append([next(source)])
        self._outbox = Outbox(path)
        self._outbox.take_over(0)
        self._outbox.look()
        self._number = next(iter(self._outbox.lanes))

    def move(self, seq: int, counts: int, position: int) -> None:
        self._outbox.move_mark(Mark(self._number, seq, counts, position), 0)

    def close(self) -> None:
        self._outbox.close()


def _naive_bytes_per_event(disk: Flash, sizes: Sizes) -> float:
    path = disk.folder / "naive.db"
    log, source = NaiveLog(path), drafts(stream_header())
    log.append(islice(source, sizes.naive_events))
    before = disk.bytes_written()
    log.append(islice(source, sizes.naive_events))
    written = disk.bytes_written() - before
    log.close()
    path.unlink()
    return written / sizes.naive_events


def _append_figures(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """An append of one second's ten events, beside a bare fdatasync of as much on the same file system."""
    path = folder / "append.db"
    writer, source = LogWriter(path), drafts(stream_header())
    writer.open()
    appends, syncs = [], []
    with Bare(folder / "bare") as bare:
        for number in range(sizes.commits):
            group = list(islice(source, 10))
            began_ns = time.perf_counter_ns()
            writer.append(group)
            appends.append((time.perf_counter_ns() - began_ns) / 1e6)
            syncs.append(bare.timed_ms(number))
    writer.close()
    for percent in (50, 99):
        name, reference = f"log.append_p{percent}", percentile(syncs, percent)
        yield Figure(name, percentile(appends, percent), "ms", reference=reference, reference_is="bare fdatasync")


class Bare:
    """The least a durable append can cost: one block overwritten in a preallocated file, one fdatasync."""

    BLOCK = b"\x55" * 4096

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Bare:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(256):
            os.write(self._handle, self.BLOCK)
        os.fsync(self._handle)
        return self

    def write(self, number: int) -> None:
        os.pwrite(self._handle, self.BLOCK, number % 256 * len(self.BLOCK))
        os.fdatasync(self._handle)

    def timed_ms(self, number: int) -> float:
        began_ns = time.perf_counter_ns()
        self.write(number)
        return (time.perf_counter_ns() - began_ns) / 1e6

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
