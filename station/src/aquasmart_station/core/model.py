"""The station's nouns: scale, reading, stream header, draft, row.

Pure values: no clock, no I/O, no randomness, no floats. Counts and microlitres are integers everywhere
(`architecture.md` words: reading, event, totaliser, scale, epoch, stream, seq).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from .errors import CountsOutOfRange
from .phrases import Phrase

PRICE_LIMIT = 1 << 63
"""counts · ul_num must stay below this, on the station and in the cloud (docs/protocol.md §3)."""


class Kind(IntEnum):
    """What an event says. Stored as the number, sent as the lower-case name; a number is never reused."""

    VOLUME = 0
    CATCH_UP = 1
    GAP = 2
    MERGED = 3
    DISPUTED = 4
    LEAK = 5
    BASELINE = 6
    RESET = 7
    METER_CHANGE = 8
    ROLLOVER = 9
    REVERSE = 10
    POUR = 11
    ANOMALY = 12
    DIAGNOSTIC = 13
    CONFIG_APPLIED = 14
    BOOT = 15
    SHUTDOWN = 16
    HEARTBEAT = 17
    DEGRADED = 18

    @property
    def wire(self) -> str:
        return self.name.lower()


_KIND_NAMES = {kind.value: kind.wire for kind in Kind}


def kind_name(number: int) -> str:
    """A kind as the wire has it; `kind-N` for one that a newer image wrote before it was given up."""
    return _KIND_NAMES.get(number, f"kind-{number}")


class Flag(IntFlag):
    """Status bits on every reading and every row."""

    NONE = 0
    DEGRADED = 1
    RAIL_LOW = 2
    CLOCK_UNSET = 4
    SENSOR_STUCK = 8
    SUSPECT = 16


@dataclass(frozen=True, slots=True)
class Scale:
    """Exact rational price of one count position: `ul_num / den` microlitres."""

    ul_num: int
    den: int

    def __post_init__(self) -> None:
        if self.ul_num < 1 or self.den < 1:
            raise ValueError(f"a scale needs ul_num >= 1 and den >= 1, not {self.ul_num}/{self.den}")

    def price_ul(self, counts: int) -> int:
        """Price of position `counts` in µl: `counts · ul_num // den` (docs/protocol.md §3)."""
        product = counts * self.ul_num
        if counts < 0 or product >= PRICE_LIMIT:
            raise CountsOutOfRange(
                Phrase(
                    "position {counts} at scale {ul_num}/{den} is out of range",
                    counts=counts,
                    ul_num=self.ul_num,
                    den=self.den,
                )
            )
        return product // self.den

    def volume_ul(self, from_counts: int, to_counts: int) -> int:
        """Volume between two positions in µl. By position, so that sums telescope however rows are cut."""
        return self.price_ul(to_counts) - self.price_ul(from_counts)

    @classmethod
    def from_k_factor(cls, pulses_per_litre: Fraction) -> Scale:
        """The scale of a meter that gives `pulses_per_litre`; 450 → 20000/9 µl."""
        if pulses_per_litre <= 0:
            raise ValueError(f"a K-factor must be above 0, not {pulses_per_litre}")
        ul = Fraction(1_000_000) / pulses_per_litre
        return cls(ul.numerator, ul.denominator)


@dataclass(frozen=True, slots=True)
class MeterTraits:
    """What a driver states about its meter's totaliser."""

    scale: Scale
    modulus: int | None
    """The totaliser wraps to 0 at this count; None where it never does."""
    qmax_ul_s: int
    """The largest flow the meter can see, µl/s: the bound of what one interval can hold."""
    nonvolatile: bool
    """True where the totaliser survives the meter's own power loss."""
    identity_strong: bool
    """True where `Reading.identity` is a serial number, False where it is nothing or a guess."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an answer arrived: monotonic (CLOCK_BOOTTIME) and wall time in ns, round trip in µs."""

    mono_ns: int
    wall_ns: int
    rtt_us: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One poll of the meter, in memory."""

    mono_ns: int
    wall_ns: int
    rtt_us: int
    meter_id: str
    boot_id: str | None
    """The meter's own boot id or power-up counter, None where it has none."""
    forward_counts: int
    """The raw totaliser, not unwrapped."""
    reverse_counts: int | None = None
    flow_ul_s: int | None = None
    temperature_mc: int | None = None
    flags: Flag = Flag.NONE
    identity: str | None = None
    nonvolatile: bool | None = None
    """What the meter says of its totaliser; None: as the driver's traits say."""
    valve_open: bool | None = None
    """The tap's valve, where the meter's electronics know it."""
    raw: bytes = field(default=b"", repr=False)

    @property
    def mono_ms(self) -> int:
        return self.mono_ns // 1_000_000

    @property
    def wall_ms(self) -> int:
        return self.wall_ns // 1_000_000


@dataclass(frozen=True, slots=True)
class Board:
    """The station itself, as stream headers name it."""

    station_id: str
    boot_id: str
    hardware_id: str
    software: str


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The header of a stream (docs/protocol.md §3). Immutable once its first row is committed.

    The meterless stream of a run has `meter_id`, `epoch` and `scale` None and all counts 0.
    """

    id: UUID
    meter_id: str | None
    identity: str | None
    identity_strong: bool
    epoch: UUID | None
    epoch_from: int
    modulus: int | None
    opening_counts: int
    scale: Scale | None
    opened_at_ms: int
    boot_id: str
    meter_boot_id: str | None
    hardware_id: str
    software: str
    clock: str
    """ntp, rtc, restored or unset."""
    change_token: str | None = None

    def volume_ul(self, to_counts: int) -> int:
        """Volume from the stream's opening to `to_counts`, µl; 0 for the meterless stream."""
        return 0 if self.scale is None else self.scale.volume_ul(self.opening_counts, to_counts)


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that has no place in the log yet: the writer gives it its position and seq at commit."""

    stream: StreamHeader
    kind: Kind
    at_ms: int
    mono_ms: int
    counts: int
    flags: Flag = Flag.NONE
    data: dict[str, Any] | None = None
    urgent: bool = False
    """Commit at once: end of a pour, reset, rollover, swap, a volatile totaliser's counts."""
    seqs: int = 1
    """How many drafts it stands for: more than one where neighbours were merged before they reached the log."""


class Row(NamedTuple):
    """One row of the log: an event. A plain tuple, because the sync service reads hundreds of thousands a second."""

    position: int
    seq: int
    seqs: int
    """How many seqs the row stands for, ending at `seq`: 1, or more for a merged row or a gap."""
    kind: int
    flags: int
    at_ms: int
    mono_ms: int
    counts: int
    data: str | None
    """JSON text, where the kind has any."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The accounting state after a crash: the last row of a meter and its stream's header, nothing else."""

    header: StreamHeader
    counts: int
    at_ms: int
    mono_ms: int
    data: str | None = None
    """JSON text of that row, where it has any."""


def event_id(stream_id: UUID, seq: int) -> UUID:
    """The id by which an event is shown: UUIDv5(stream_id, str(seq)). Computed, never stored or sent."""
    return uuid5(stream_id, str(seq))
