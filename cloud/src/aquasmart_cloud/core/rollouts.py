"""Roll-outs of images: their words, their maintenance windows, what is offered to whom, and what stops one. Pure.

A roll-out offers one bundle to the stations of a group: to its canaries first, to the others once every canary is
`good`. A canary that ends otherwise stops it. Rows are store.rollouts'; the protocol is docs/protocol.md §10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

DOWNLOADING, DOWNLOADED, WAITING, INSTALLING, INSTALLED = (
    "downloading",
    "downloaded",
    "waiting",
    "installing",
    "installed",
)
GOOD, FELL_BACK, REFUSED, FAILED = "good", "fell-back", "refused", "failed"
RESULTS = (DOWNLOADING, DOWNLOADED, WAITING, INSTALLING, INSTALLED, GOOD, FELL_BACK, REFUSED, FAILED)
"""What a station tells of an update, in the order in which it may come."""
ENDED = frozenset({GOOD, FELL_BACK, REFUSED, FAILED})
BAD = ENDED - {GOOD}

RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"
"""States of a roll-out. Finished: every station of it has ended."""
CANARIES, ALL = "canaries", "all"
"""Stages of a roll-out: to whom it is offered."""
ITSELF = "itself"
"""Who stopped a roll-out that nobody stopped by hand."""

DAY_MINUTES = 1_440
DEFAULT_WINDOW = "02:00-05:00"

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}")
_COMPATIBLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_NUMBER = 999_999_999
"""Nine digits, as a station takes them."""


class Window(NamedTuple):
    """A daily maintenance window: minutes after midnight. `until` below `since` is past midnight; alike: all day."""

    since: int
    until: int

    @classmethod
    def parse(cls, text: str) -> Window | None:
        """`02:00-05:00`; None where it is none."""
        match = _WINDOW.fullmatch(text)
        if match is None:
            return None
        from_hour, from_minute, to_hour, to_minute = (int(each) for each in match.groups())
        return cls(from_hour * 60 + from_minute, to_hour * 60 + to_minute)

    def shifted(self, minutes: int) -> Window:
        """So much later."""
        return Window((self.since + minutes) % DAY_MINUTES, (self.until + minutes) % DAY_MINUTES)

    def document(self) -> dict[str, str]:
        """As it is on the wire."""
        return {"from": _clock(self.since), "to": _clock(self.until)}

    def __str__(self) -> str:
        return f"{_clock(self.since)}-{_clock(self.until)}"


class Facts(NamedTuple):
    """What a bundle says of itself: for which image it is, and its place in the order of releases."""

    version: str
    number: int
    compatible: str


class Bundle(NamedTuple):
    """A bundle as the cloud keeps it."""

    sha256: str
    size_bytes: int
    version: str
    number: int
    compatible: str
    verified: bool
    """Whether `rauc` has verified its signature here; stations verify it in any case."""
    added_at: int
    added_by: str

    def offered(self) -> dict[str, Any]:
        """As a station is told of it."""
        return {name: getattr(self, name) for name in ("sha256", "size_bytes", "version", "number", "compatible")}


class Offer(NamedTuple):
    """What a station is told when it asks for an update."""

    rollout_id: int
    stopped: bool
    window: Window
    """In the station's time zone."""
    time_zone: str
    bundle: Bundle

    def document(self, offset_minutes: int) -> dict[str, Any]:
        """On the wire; `offset_minutes`: how far the station's time zone is ahead of UTC just now."""
        return {
            "rollout_id": self.rollout_id,
            "stopped": self.stopped,
            "window": self.window.shifted(-offset_minutes).document(),
            "bundle": self.bundle.offered(),
        }


def concerns(rollout_state: str, stage: str, *, canary: bool, station_state: str) -> bool | None:
    """Whether a station is offered the newest roll-out that lists it: True, False, None where it is told `stopped`.

    A stopped one is told only to a station that has begun: to the others it is nothing new that there is nothing.
    """
    if station_state in ENDED:
        return False
    if rollout_state == STOPPED:
        return None if station_state else False
    return rollout_state == RUNNING and (canary or stage == ALL)


def moves_on(former: str, told: str) -> bool:
    """Whether what a station tells is later than what is known: a result that was delayed changes nothing."""
    return former not in ENDED and (not former or RESULTS.index(told) > RESULTS.index(former))


def stage_after(canaries: Iterable[str]) -> str:
    """Who is next, by the states of the canaries that still count: everybody, once each of them is good."""
    states = list(canaries)
    return ALL if all(each == GOOD for each in states) else CANARIES


def why_stopped(station_id: str, result: str, detail: str) -> str:
    """The reason of a roll-out that stopped by itself, for people."""
    words = {FELL_BACK: "fell back to its former image", REFUSED: "refused the bundle", FAILED: "failed to install it"}
    return f"canary {station_id} {words[result]}" + (f": {detail}" if detail else "")


def facts_faults(facts: Facts) -> list[str]:
    """What is wrong with a bundle's facts, each in words."""
    faults = []
    if not _VERSION.fullmatch(facts.version):
        faults.append(f"the version {facts.version[:70]!r} is none such as 1.4.0")
    if not 1 <= facts.number <= MOST_NUMBER:
        faults.append(f"the number must be a whole number from 1 that only grows, not {facts.number}")
    if not _COMPATIBLE.fullmatch(facts.compatible):
        faults.append(f"{facts.compatible[:100]!r} is no name of a kind of image, such as aquasmart-raspberrypi4-64")
    return faults


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
