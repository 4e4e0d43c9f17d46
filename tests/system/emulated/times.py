"""When an event happened: as the log has it, as the station told it, as the cloud believes it.

What is told is read from the signed bodies as the cloud has stored them, by the formula of docs/protocol.md §5.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.store.events import unpack
from aquasmart_station.core.clock_floor import EARLIEST_PLAUSIBLE_MS
from tests.integration.databases import CloudBooks
from tests.system.emulated.station import BootTime, EmulatedStation

STEP_MS = 250
"""A wall clock that stands less than this beside what was said is not worth a step (docs/protocol.md §5)."""
CLOCK_UNSET = 4
EARLIEST_BELIEVED_MS = 1_577_836_800_000
"""2020-01-01: the cloud believes no claim from before."""
WINDOW_MS = 300_000
"""Nor one that is further ahead of the moment of receipt."""


class Logged(NamedTuple):
    """A row of the log, with what its clocks said."""

    stream: str
    seq: int
    at_ms: int
    mono_ms: int
    flags: int
    metered: bool

    def best_ms(self, boot: BootTime) -> int:
        """The time that decision 12 promises for it, in what is sent."""
        return self.mono_ms + boot.offset_ms if self.mono_ms < boot.at_mono_ms else self.at_ms


class Told(NamedTuple):
    """An event in a stored body."""

    stream: str
    seq: int
    mono_ms: int
    claimed_ms: int
    believed_ms: int


class Body(NamedTuple):
    """A batch as the cloud has it."""

    received_ms: int
    events: list[Told]


def logged(station: EmulatedStation, boot_id: str) -> dict[tuple[str, int], Logged]:
    """The log's rows of a boot, by stream and seq."""
    found = station.log._query(
        "SELECT s.id, e.seq, e.at_ms, e.mono_ms, e.flags, s.meter_id IS NOT NULL"
        " FROM event e JOIN stream s USING (stream)"
        " WHERE json_extract(s.header, '$.boot_id') = ? ORDER BY e.position",
        (boot_id,),
    )
    rows = [Logged(UUID(bytes=row[0]).hex, *row[1:5], bool(row[5])) for row in found]
    return {(row.stream, row.seq): row for row in rows}


def bodies(books: CloudBooks, station_id: str) -> list[Body]:
    """All that the station has told, in the order of receipt."""
    found = books.query(
        "SELECT stream, from_seq, received_at, encoding, body FROM batch WHERE station_id = ? ORDER BY received_at",
        (station_id,),
    )
    made = []
    for stream, from_seq, received_ms, encoding, body in found:
        batch = decode_batch(inflate(body, None if encoding == "-" else encoding))
        steps = dict(batch.wall_steps)
        shifts = list(accumulate(steps.get(row, 0) for row in range(len(batch.dt))))
        claims = [batch.at + dt + shift for dt, shift in zip(accumulate(batch.dt), shifts, strict=True)]
        events = [
            Told(UUID(stream).hex, event.seq, event.mono_ms, claim, event.at)
            for event, claim in zip(unpack(batch, stream, received_ms), claims, strict=True)
            if event.seq >= from_seq
        ]
        made.append(Body(received_ms, events))
    return made


def believable(body: Body) -> bool:
    """Whether the cloud takes a body's claims as they are: each may be true."""
    return all(EARLIEST_BELIEVED_MS <= told.claimed_ms <= body.received_ms + WINDOW_MS for told in body.events)


def assert_times(body: Body, rows: dict[tuple[str, int], Logged], boot: BootTime) -> None:
    """What decision 12 and docs/protocol.md §8 promise of a body's times, against the log's own rows."""
    last = body.events[-1]
    anchor_ms = last.claimed_ms if EARLIEST_BELIEVED_MS <= last.claimed_ms <= body.received_ms + WINDOW_MS else None
    for told in body.events:
        row = rows[told.stream, told.seq]
        # Order and durations: the board's own clock, exactly, whatever the wall clock did.
        assert told.mono_ms == row.mono_ms
        assert abs(told.claimed_ms - row.best_ms(boot)) <= STEP_MS, (told, row, boot)
        if believable(body):
            assert told.believed_ms == told.claimed_ms
        else:
            # A claim that cannot be true: by the board's own clock, back from the last row's claim or from the receipt.
            base_ms = body.received_ms if anchor_ms is None else anchor_ms
            assert told.believed_ms == base_ms - (last.mono_ms - told.mono_ms), (told, body.received_ms)


def assert_flags(rows: dict[tuple[str, int], Logged]) -> None:
    """`clock unset` stands on what a meter counted while the wall clock could not be right, and nowhere else."""
    for row in rows.values():
        if row.metered:
            assert bool(row.flags & CLOCK_UNSET) == (row.at_ms < EARLIEST_PLAUSIBLE_MS), row
