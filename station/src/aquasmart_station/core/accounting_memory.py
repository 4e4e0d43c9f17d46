"""What an account remembers besides its rows: what a resumed row says, a newcomer on a frozen port, a doubt,
a leak's counts that no row has taken yet.

Values and how one follows from another; the account decides when.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from .accounting_rules import Case, Known, Moment, Verdict, raw_counts, within_bound
from .model import MeterTraits, Reading, Resume


def known_from(resume: Resume) -> Known:
    """What the last row of a meter and its stream's header say. Raises ValueError for a meterless stream."""
    header = resume.header
    if header.epoch is None:
        raise ValueError("a meterless stream holds no meter's state")
    return Known(
        booked=resume.counts,
        meter_boot_id=header.meter_boot_id,
        identity=header.identity,
        epoch=header.epoch,
        epoch_from=header.epoch_from,
        since=Moment(header.boot_id, resume.mono_ms, resume.at_ms, header.clock),
    )


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Another meter on a port that waits for a technician: the count first seen, and when."""

    identity: str
    counts: int
    meter_boot_id: str | None
    since: Moment

    def row_data(self, expected: str | None) -> dict[str, Any]:
        """Data of the row that keeps this across a crash."""
        return {
            "metric": "identity",
            "expected": expected,
            "found": self.identity,
            "found_boot_id": self.meter_boot_id,
            "first_seen_counts": self.counts,
        }

    @classmethod
    def from_row(cls, data: str | None, since: Moment) -> Newcomer | None:
        """The newcomer in a resumed row's JSON `data`; None where the row says nothing of one."""
        found = json.loads(data) if data else {}
        if found.get("metric") != "identity":
            return None
        return cls(found["found"], found["first_seen_counts"], found["found_boot_id"], since)


@dataclass(frozen=True, slots=True)
class Held:
    """A leak's counts that a reading confirmed and no row has taken yet. A crash re-derives them from the meter."""

    position: int
    reading: Reading
    at: Moment


@dataclass(frozen=True, slots=True)
class Doubt:
    """Polls that no rule explains and that agree with each other so far."""

    case: Case
    first_raw: int
    last_raw: int
    position: int
    meter_boot_id: str | None
    at: Moment
    polls: int

    @classmethod
    def after(cls, former: Doubt | None, verdict: Verdict, reading: Reading, at: Moment, traits: MeterTraits) -> Doubt:
        """The doubt with this poll in it: counted on where it agrees with the one before, begun anew where not."""
        raw = raw_counts(reading, traits)
        fresh = cls(verdict.case, raw, raw, verdict.position, reading.boot_id, at, 1)
        if former is None or (former.case, former.meter_boot_id) != (fresh.case, fresh.meter_boot_id):
            return fresh
        ahead = raw - former.last_raw
        if traits.modulus:
            ahead %= traits.modulus
        if ahead < 0 or not within_bound(ahead, former.at.elapsed_ms(at), traits):
            return fresh
        return replace(fresh, first_raw=former.first_raw, polls=former.polls + 1)


def reduced(known: Known, traits: MeterTraits) -> int | None:
    """The booked position as the register shows it, where that is lower: an epoch may begin anew there."""
    position = known.booked % traits.modulus if traits.modulus else known.booked
    return position if position < known.booked else None
