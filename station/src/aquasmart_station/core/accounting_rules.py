"""Which of the seven rules a reading falls under: pure functions of what is known and what was read.

The rules and their order are those of the meters' page: replaced, no state, normal, rollover, reverse, reset,
anything else. What is known is what a log's last row and its stream's header say, so that a verdict is the same
before and after a crash. Counts, µl and ms are integers; no clock, no I/O, no state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from uuid import NAMESPACE_URL, UUID, uuid5

from .model import MeterTraits, Reading

MARGIN_NUM, MARGIN_DEN = 5, 4
"""The bound is qmax · Δt · 1.25."""

SHORTEST_MS = 1_000
"""Polls jitter and meters update in steps: no interval is judged as shorter."""

REBOOTED_IN_THE_DARK_MS = 86_400_000
"""Where the gap is unknown and the meter restarted in it, a wrap is believed only if qmax reaches it in a day."""

RELIABLE_CLOCKS = frozenset({"ntp", "rtc"})
"""A clock that was merely restored from a file stood still while the board was off."""


class Case(Enum):
    """What a reading is, in the order in which the rules are tried."""

    REPLACED = auto()
    BASELINE = auto()
    NORMAL = auto()
    ROLLOVER = auto()
    REVERSE = auto()
    RESET = auto()
    JUMP = auto()
    DECREASE = auto()


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was known: board boot, monotonic and wall ms, and how good the wall clock was."""

    boot_id: str
    mono_ms: int
    at_ms: int
    clock: str

    def elapsed_ms(self, later: Moment) -> int | None:
        """Time to `later`, ms: monotonic within a boot, else by wall clocks that are both reliable, else None."""
        if self.boot_id == later.boot_id:
            elapsed = later.mono_ms - self.mono_ms
        elif self.clock in RELIABLE_CLOCKS and later.clock in RELIABLE_CLOCKS:
            elapsed = later.at_ms - self.at_ms
        else:
            return None
        return elapsed if elapsed >= 0 else None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a meter before a reading: all of it stands in its last row and that row's header."""

    booked: int
    """The highest position reached, unwrapped."""
    meter_boot_id: str | None
    identity: str | None
    epoch: UUID
    epoch_from: int
    since: Moment
    """When `booked` was last confirmed."""

    def confirmed(self, reading: Reading, now: Moment) -> Known:
        """The same position, seen again by `reading`; what a reading leaves out stays as it was."""
        return replace(
            self,
            meter_boot_id=reading.boot_id or self.meter_boot_id,
            identity=reading.identity or self.identity,
            since=now,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The case, and the unwrapped position that the reading stands for in its epoch."""

    case: Case
    position: int


def raw_counts(reading: Reading, traits: MeterTraits) -> int:
    """Net counts on the register, in [0, modulus) where it wraps: forward less reverse where both are counted."""
    net = reading.forward_counts - (reading.reverse_counts or 0)
    return net % traits.modulus if traits.modulus else max(net, 0)


def is_nonvolatile(reading: Reading, traits: MeterTraits) -> bool:
    """Whether the totaliser survives power loss: what the meter says, else what its driver's traits say."""
    return traits.nonvolatile if reading.nonvolatile is None else reading.nonvolatile


def within_bound(counts: int, elapsed_ms: int | None, traits: MeterTraits) -> bool:
    """Whether qmax · Δt · 1.25 can hold `counts`; half the modulus where Δt is unknown.

    One count is always possible: on a coarse meter it may be due at any instant.
    """
    if elapsed_ms is None:
        return traits.modulus is None or counts <= traits.modulus // 2
    scale, elapsed_ms = traits.scale, max(elapsed_ms, SHORTEST_MS)
    limit = traits.qmax_ul_s * elapsed_ms * MARGIN_NUM * scale.den
    return (counts - 1) * scale.ul_num * 1000 * MARGIN_DEN <= limit


def bound_ul(elapsed_ms: int | None, traits: MeterTraits) -> int | None:
    """The most water that can have flowed in `elapsed_ms`, µl; None where that is unknown."""
    return None if elapsed_ms is None else traits.qmax_ul_s * elapsed_ms * MARGIN_NUM // (1000 * MARGIN_DEN)


def classify(
    known: Known | None, reading: Reading, traits: MeterTraits, elapsed_ms: int | None, reverse_max_ul: int
) -> Verdict:
    """The first rule that fits. `elapsed_ms` is the time since `known.since`, None where unknown."""
    raw = raw_counts(reading, traits)
    if known is None:
        return Verdict(Case.BASELINE, raw)
    if is_replaced(known, reading):
        return Verdict(Case.REPLACED, raw)
    ahead, behind = _distances(raw, known.booked, traits)
    rebooted = has_rebooted(known, reading)
    continues = is_nonvolatile(reading, traits) or not rebooted
    backflow = 0 < behind < ahead and behind * traits.scale.ul_num <= reverse_max_ul * traits.scale.den
    above = raw >= _register(known.booked, traits)
    if continues and above and not (backflow and traits.modulus) and within_bound(ahead, elapsed_ms, traits):
        return Verdict(Case.NORMAL, known.booked + ahead)
    if continues and not above and _may_have_wrapped(ahead, elapsed_ms, traits, rebooted=rebooted):
        return Verdict(Case.ROLLOVER, known.booked + ahead)
    if continues and backflow:
        return Verdict(Case.REVERSE, known.booked - behind)
    lost = not is_nonvolatile(reading, traits) or not above
    if rebooted and lost and within_bound(raw, elapsed_ms, traits):
        return Verdict(Case.RESET, raw)
    return Verdict(Case.JUMP, known.booked + ahead) if above else Verdict(Case.DECREASE, raw)


def is_replaced(known: Known, reading: Reading) -> bool:
    """Rule 1: both identities are known and differ."""
    return None not in (known.identity, reading.identity) and known.identity != reading.identity


def has_rebooted(known: Known, reading: Reading) -> bool:
    """Positive evidence only: a boot id that is missing on either side is none."""
    return None not in (known.meter_boot_id, reading.boot_id) and known.meter_boot_id != reading.boot_id


def _register(position: int, traits: MeterTraits) -> int:
    return position % traits.modulus if traits.modulus else position


def _distances(raw: int, booked: int, traits: MeterTraits) -> tuple[int, int]:
    """Counts from `booked` forwards to `raw`, and backwards to it; the way round where the register wraps."""
    if traits.modulus:
        return (raw - booked) % traits.modulus, (booked - raw) % traits.modulus
    return (raw - booked, 0) if raw >= booked else (1 << 63, booked - raw)


def _may_have_wrapped(ahead: int, elapsed_ms: int | None, traits: MeterTraits, *, rebooted: bool) -> bool:
    """Rule 4: the way round fits the bound, and the gap is too short for half a turn to have gone unseen."""
    if traits.modulus is None:
        return False
    if elapsed_ms is None:
        if not rebooted:
            return ahead <= traits.modulus // 2
        elapsed_ms = REBOOTED_IN_THE_DARK_MS
    half_turn = traits.modulus * traits.scale.ul_num * 1000
    gap_is_short = 2 * traits.qmax_ul_s * elapsed_ms * traits.scale.den < half_turn
    return gap_is_short and within_bound(ahead, elapsed_ms, traits)


def epoch_of_boot(station_id: str, meter_id: str, meter_boot_id: str) -> UUID:
    """The epoch of a volatile totaliser's power-up: alike on every board that reads it (docs/protocol.md §3)."""
    return uuid5(uuid5(NAMESPACE_URL, f"urn:aquasmart:station:{station_id}"), f"{meter_id}:{meter_boot_id}")
