"""What an operator demands of every station: the least software, and how often one may ask. Pure.

The figures are kept by store.policy; who is refused for them is decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import StationError
from .problems import Refusal

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:[-+.].*)?")
_RATE = re.compile(r"([1-9]\d{0,6})/(second|minute|hour)")
_PERIOD_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests of one station in each period."""

    requests: int
    period_ms: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """`20/second`, `600/minute`, `1000/hour`. Errors: StationError."""
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise StationError(f"{text!r} is no rate", "write it as 20/second, 600/minute or 1000/hour")
        return cls(int(match[1]), _PERIOD_MS[match[2]])


@dataclass(frozen=True, slots=True)
class Policy:
    """Nothing is demanded unless it was set."""

    minimum_version: str | None = None
    rate: Rate | None = None


def version(text: str) -> tuple[int, int, int]:
    """`1.20.3`, or with anything behind it, as numbers that compare. Errors: StationError."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise StationError(f"{text!r} is no version", "write it as 1.20.3")
    return int(match[1]), int(match[2]), int(match[3])


def refuse_old_software(policy: Policy, said: str) -> None:
    """Errors: Refusal `upgrade-required` for software below the minimum, or that does not say what it is."""
    if policy.minimum_version is None:
        return
    try:
        if version(said) >= version(policy.minimum_version):
            return
    except StationError:
        said = ""
    raise Refusal(
        "upgrade-required",
        f"this station's software {said or 'does not say its version; it'} must be at least {policy.minimum_version}",
        members={"minimum_version": policy.minimum_version, "current_version": said},
    )


def next_allowed(rate: Rate, due_us: int, now_us: int) -> tuple[int, int]:
    """The generic cell rate algorithm (ITU-T I.371): a rate that lets a whole period's requests through at once.

    `due_us` is when the requests so far would have been evenly spaced. Gives the new `due_us` and 0 where one more is
    allowed, else the old one and the wait in µs until one is. No `due_us` of this clock lies further ahead than a
    period: one that does is left from before the clock was set back, or from a slower rate, and is forgiven.
    """
    period_us = rate.period_ms * 1_000
    if due_us > now_us + period_us:
        due_us = now_us
    later_us = max(due_us, now_us) + period_us // rate.requests
    wait_us = later_us - now_us - period_us
    return (later_us, 0) if wait_us <= 0 else (due_us, wait_us)
