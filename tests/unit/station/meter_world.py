"""A world to test the accounting in: water, a meter, a board that crashes, and an auditor who trusts nobody.

The truth is kept here by other means than the product's: the meter is a plain number that water adds to, the log is
the list of rows that survived, and the auditor prices them with `Fraction`s. Nothing here imports the accounting's
rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from math import floor
from uuid import UUID

from aquasmart_station.core.accounting import Account
from aquasmart_station.core.model import Board, Draft, Kind, MeterTraits, Reading, Resume, Scale, StreamHeader

NOON_MS = 1_763_676_000_000
K450 = Scale(20_000, 9)
LITRE_A_SECOND = 1_000_000


def traits(
    scale: Scale = K450,
    modulus: int | None = 1 << 32,
    qmax_ul_s: int = LITRE_A_SECOND,
    *,
    nonvolatile: bool = True,
    strong: bool = False,
) -> MeterTraits:
    return MeterTraits(scale, modulus, qmax_ul_s, nonvolatile, strong)


def ids() -> Callable[[], UUID]:
    numbers = count(1)
    return lambda: UUID(int=next(numbers))


@dataclass
class Meter:
    """A register that water turns. `net` is the truth: every count since it was made, backflow taken off."""

    traits: MeterTraits
    net: int
    identity: str | None = None
    boot: int = 1
    has_boot_id: bool = True
    zero: int = 0
    """Net position at which the register last began at 0."""

    def flow(self, counts: int) -> None:
        self.net += counts

    def power_cycle(self) -> None:
        self.boot += 1
        if not self.traits.nonvolatile:
            self.zero = self.net

    @property
    def register(self) -> int:
        shown = self.net - self.zero
        return shown % self.traits.modulus if self.traits.modulus else max(shown, 0)

    def read(self, mono_ms: int, at_ms: int) -> Reading:
        return Reading(
            mono_ns=mono_ms * 1_000_000,
            wall_ns=at_ms * 1_000_000,
            rtt_us=1000,
            meter_id="tap-1",
            boot_id=f"{self.boot:08x}" if self.has_boot_id else None,
            forward_counts=self.register,
            identity=self.identity,
        )


@dataclass
class World:
    """A board that polls a meter, keeps rows, and may crash at any row's end."""

    meter: Meter
    traits: MeterTraits
    clock: str = "ntp"
    log: list[Draft] = field(default_factory=list)
    ring: list[Draft] = field(default_factory=list)
    now_ms: int = NOON_MS
    mono_ms: int = 5_000
    board_boot: int = 1
    new_id: Callable[[], UUID] = field(default_factory=ids)

    def __post_init__(self) -> None:
        self.account = self._open()

    def _open(self) -> Account:
        last = self.log[-1] if self.log else None
        return Account(
            board=Board("station-1", f"boot-{self.board_boot}", "hw", "0"),
            meter_id="tap-1",
            traits=self.traits,
            resume=Resume(last.stream, last.counts, last.at_ms, last.mono_ms) if last else None,
            last_data=json.dumps(last.data) if last and last.data is not None else None,
            new_id=self.new_id,
            clock=self.clock,
        )

    def wait(self, duration_ms: int) -> None:
        self.now_ms += duration_ms
        self.mono_ms += duration_ms

    def poll(self) -> list[Draft]:
        drafts = self.account.take(self.meter.read(self.mono_ms, self.now_ms))
        self.ring += drafts
        return drafts

    def heartbeat(self) -> Draft | None:
        draft = self.account.heartbeat(self.mono_ms)
        self.ring += [draft] if draft else []
        return draft

    def commit(self) -> None:
        self.log += self.ring
        self.ring = []

    def crash(self, kept: int = 0) -> None:
        """Kill the reader when `kept` rows of the ring are on disk."""
        self.log += self.ring[:kept]
        self.ring = []
        self.account = self._open()

    def power_cut(self, kept: int = 0, clock: str = "ntp") -> None:
        """The board restarts: another boot id, another monotonic zero, perhaps no idea of the time."""
        self.board_boot += 1
        self.mono_ms = 1_000
        self.clock = clock
        self.crash(kept)

    def settle(self) -> None:
        """Polls enough for anything to be believed, then a commit."""
        for _ in range(4):
            self.wait(1_000)
            self.poll()
        self.commit()


def price(scale: Scale, counts: int) -> int:
    return floor(Fraction(scale.ul_num, scale.den) * counts)


@dataclass
class Epoch:
    """What the auditor found of one epoch."""

    start: int
    end: int
    volume_ul: int
    scales: set[Scale]

    @property
    def counts(self) -> int:
        return self.end - self.start


def audit(log: list[Draft]) -> dict[UUID, Epoch]:
    """Check that rows tile their epochs and that their volumes are its price; the epochs in order of appearance."""
    epochs: dict[UUID, Epoch] = {}
    streams: dict[UUID, StreamHeader] = {}
    position: dict[UUID, int] = {}
    for row in log:
        header = row.stream
        assert header.epoch is not None
        assert header.scale is not None
        epoch = epochs.setdefault(header.epoch, Epoch(header.epoch_from, header.epoch_from, 0, set()))
        assert streams.setdefault(header.id, header) is header, "a stream has one header"
        assert header.epoch_from == epoch.start
        before = position.setdefault(header.id, header.opening_counts)
        assert before == epoch.end, "a row begins where the epoch's rows end"
        assert row.counts >= before, "a row never takes counts back"
        epoch.volume_ul += price(header.scale, row.counts) - price(header.scale, before)
        epoch.end = position[header.id] = row.counts
        epoch.scales.add(header.scale)
        assert header.scale.volume_ul(before, row.counts) == price(header.scale, row.counts) - price(
            header.scale, before
        )
    for epoch in epochs.values():
        if len(epoch.scales) == 1:
            (scale,) = epoch.scales
            assert epoch.volume_ul == price(scale, epoch.end) - price(scale, epoch.start)
    return epochs


def booked(log: list[Draft]) -> int:
    """Counts in all epochs together."""
    return sum(epoch.counts for epoch in audit(log).values())


def world(net: int = 1_000_000, **settings: object) -> World:
    """A world whose meter has been read once."""
    of = traits(**settings)
    made = World(Meter(of, net), of)
    made.poll()
    made.commit()
    return made


def kinds(drafts: list) -> list[tuple[Kind, int]]:
    return [(draft.kind, draft.counts) for draft in drafts]
