"""Any story of water, commits, crashes, restarts, deliveries and damage, on a real log: the books tile in the end."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.model import Draft, Kind
from tests.integration.station.some_logs import NOON_MS, START, checker, flip, header, merged


@dataclass
class Station:
    """A meter that counts, a reader that commits and crashes, a sync that delivers; `sent` is what the cloud got."""

    folder: Path
    meter: int = START
    buffered: list[Draft] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    damaged: bool = False

    def __post_init__(self) -> None:
        self.writer = LogWriter(self.log)
        self.start()

    @property
    def log(self) -> Path:
        return self.folder / "log.db"

    def start(self) -> None:
        self.writer = LogWriter(self.log)
        self.writer.open()
        resume = self.writer.resume("tap-1")
        if resume is None:
            self.stream, first = header(), Kind.BASELINE
        else:
            self.stream = replace(resume.header, id=uuid4(), opening_counts=resume.counts)
            first = Kind.CATCH_UP
        self.buffered = [self._draft(first)]
        self.commit()

    def _draft(self, kind: Kind) -> Draft:
        return Draft(self.stream, kind, NOON_MS + self.meter, self.meter, self.meter)

    def flow(self, counts: int) -> None:
        self.meter += counts
        self.buffered.append(self._draft(Kind.VOLUME))

    def commit(self) -> None:
        self.writer.append(self.buffered)
        self.buffered = []

    def crash(self, counts: int) -> None:
        """As a SIGKILL leaves it: the files as they are, the -wal not folded in, nothing of the ring."""
        copy = self.folder.with_name(f"{uuid4()}")
        shutil.copytree(self.folder, copy)
        self.writer.close()
        self.folder = copy
        self.meter += counts
        self.start()

    def restart(self) -> None:
        self.commit()
        self.writer.close()
        self.start()

    def deliver(self, batches: int) -> None:
        outbox = Outbox(self.log)
        outbox.take_over(1)
        outbox.look()
        blocked: frozenset[int] = frozenset()
        while batches and (lane := outbox.next_lane(blocked)) is not None:
            batch = outbox.batch(lane, 5)
            if batch is None:  # a damaged last row of the latest stream: the next stream will say
                blocked |= {lane.number}
                continue
            batches -= 1
            if batch.header.meter_id is not None:
                self.sent.append((batch.counts_before, batch.counts_through))
            outbox.move_mark(Mark(batch.stream_no, batch.through_seq, batch.counts_through, batch.through_position), 5)
        outbox.close()

    def damage_rows(self, chosen: int) -> None:
        """Wrong checksums, but for the very first row, without which there would be no epoch to resume."""
        self.commit()
        with closing(sqlite3.connect(self.log, isolation_level=None)) as connection:
            wanted = "UPDATE event SET counts = counts + 1 WHERE position > 1 AND (position * 7919 + ?) % 5 = 0"
            self.damaged |= connection.execute(wanted, (chosen,)).rowcount > 0

    def salvage(self) -> None:
        self.commit()
        self.writer.close()
        flip(self.log, 3, 18, 40, 70)
        assert checker(self.folder).check(full=True).state == "salvaged"
        self.start()


STEPS = st.one_of(
    st.tuples(st.just("flow"), st.integers(1, 500)),
    st.tuples(st.just("flow"), st.integers(1, 500)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("crash"), st.integers(0, 50)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("deliver"), st.integers(1, 6)),
    st.tuples(st.just("damage_rows"), st.integers(0, 4)),
    st.tuples(st.just("salvage")),
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=25))
def test_the_books_tile(memory: Path, steps: list[tuple[str, int]]) -> None:
    folder = memory / f"{uuid4()}"
    folder.mkdir()
    station = Station(folder)
    for name, *arguments in steps:
        getattr(station, name)(*arguments)
    station.flow(1)
    station.restart()
    station.writer.close()
    event("damaged" if station.damaged else "whole")
    station.deliver(10_000)
    assert merged(station.sent) == [(START, station.meter)]
    if not station.damaged:
        # Nothing twice: only damage of what was delivered makes a run resume before it, which the cloud names overlap.
        assert sum(high - low for low, high in station.sent) == station.meter - START
    shutil.rmtree(station.folder)
