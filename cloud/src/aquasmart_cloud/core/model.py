"""The cloud's nouns: scale, stream header, batch, entry of a batch, and the limits of the protocol.

Pure values: no clock, no I/O, no floats. Counts and microlitres are integers everywhere (docs/protocol.md §3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LIMIT = 1 << 63
"""Every integer of the wire, and every price of a position, stays below this: a database would turn to floats."""

MAX_ROWS = 10_000
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 16
MAX_TEXT = 200
MAX_DATA_BYTES = 16 * 1024
WINDOW_MS = 300_000
"""How far a request's timestamp may be from the cloud's clock, either way."""

VOLUME = "volume"
CATCH_UP = "catch_up"
GAP = "gap"
MERGED = "merged"
DISPUTED = "disputed"
BASELINE = "baseline"
RESET = "reset"
HEARTBEAT = "heartbeat"
DIAGNOSTIC = "diagnostic"
STAND_INS = frozenset({CATCH_UP, GAP})
"""Kinds that book counts without knowing when they flowed: a live row may take them over."""
STANDS_FOR_SEVERAL = frozenset({MERGED, GAP})


class Scale(NamedTuple):
    """Exact rational price of one count position: `ul_num / den` microlitres."""

    ul_num: int
    den: int

    def price_ul(self, counts: int) -> int:
        """Price of position `counts`, µl: `counts · ul_num // den`. Errors: ValueError out of range."""
        product = counts * self.ul_num
        if self.ul_num < 1 or self.den < 1 or counts < 0 or product >= LIMIT:
            raise ValueError(f"position {counts} at scale {self.ul_num}/{self.den} is out of range")
        return product // self.den

    def volume_ul(self, from_counts: int, to_counts: int) -> int:
        """Volume between two positions, µl. By position, so that sums telescope however rows are cut."""
        return self.price_ul(to_counts) - self.price_ul(from_counts)

    def carries(self, counts: int) -> bool:
        """Whether the position can be priced."""
        return counts >= 0 and counts * self.ul_num < LIMIT


@dataclass(frozen=True, slots=True)
class MeterFields:
    """What a stream's header says of its meter; a meterless stream has none."""

    meter_id: str
    identity: str | None
    identity_strong: bool
    epoch: str
    epoch_from: int
    modulus: int | None
    opening_counts: int
    scale: Scale
    change_token: str | None = None
    """The local change whose price this stream has, while nobody had confirmed it."""


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """A whole stream header. Ids are 32 hex digits, as they are stored."""

    stream: str
    meter: MeterFields | None
    opened_at: int
    hardware_id: str
    software: str
    clock: str


class Entry(NamedTuple):
    """A row of a batch that is not plain `volume`; `data` is its JSON text."""

    row: int
    kind: str
    data: str | None
    seqs: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded, well-formed batch. Rows stay in columns: nothing is made per row."""

    trace_id: str
    stream: str
    header: StreamHeader | None
    first_seq: int
    through_seq: int
    at: int
    at_mono: int
    dt: Sequence[int]
    wall_steps: Sequence[tuple[int, int]]
    counts_before: int
    counts_through: int
    counts: Sequence[int]
    flags: Sequence[tuple[int, int]]
    entries: Sequence[Entry]

    @property
    def rows(self) -> int:
        return len(self.counts)

    @property
    def one_seq_a_row(self) -> bool:
        """Whether no row stands for several seqs."""
        return self.through_seq - self.first_seq + 1 == len(self.counts)
