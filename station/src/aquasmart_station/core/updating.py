"""Whether a bundle may be installed now, and whether a fresh image has proved itself. Pure decisions.

An update replaces everything that counts, so it is taken only from a station that counts now: what the new image must
do, the present one is seen doing. A bundle's number only grows; an older one would bring back what a newer one mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UpdateError
from .phrases import Phrase

TRIAL_MS = 600_000
"""How long an image on trial has: a reader that needs minutes to salvage a log of half a gigabyte still gets there."""
HOLD_MS = 30_000
"""All that is asked for must hold so long, by the same two processes: an image that reads once and dies is no good."""
LARGEST_NUMBER = 999_999_999
"""A bundle number has nine digits at most, so that the shell of the install handler compares it on every board."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What this station runs."""

    version: str
    number: int
    compatible: str


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What a bundle says of itself, its signature verified."""

    version: str
    number: int
    compatible: str


@dataclass(frozen=True, slots=True)
class MeterNow:
    """A meter as the reader sees it at this moment."""

    meter_id: str
    read: bool
    """The last polls were answered, and counted."""
    flowing: bool


@dataclass(frozen=True, slots=True)
class StationNow:
    """What the decision to install needs to know of the station."""

    highest_good: int
    """The largest bundle number that was ever marked good here; 0: none was."""
    on_trial: bool
    """This boot is a trial that has not been marked good."""
    meters: tuple[MeterNow, ...]
    log_fault: str = ""
    """Why events are not committed now; empty: they are."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not. `final`: no waiting helps; the others may be over in a minute."""

    code: str
    text: str
    final: bool


def number_of(text: object) -> int:
    """A bundle number: a positive integer, nine digits at most. Raises UpdateError."""
    words = str(text).strip()
    number = int(words) if words.isascii() and words.isdigit() and len(words) <= len(str(LARGEST_NUMBER)) else 0
    if number < 1:
        raise UpdateError(
            Phrase("{words} is no bundle number", words=repr(words)),
            hint=Phrase("The bundle's manifest must say build=N, a positive integer that grows with each bundle."),
        )
    return number


def image_of(document: Mapping[str, Any]) -> ImageInfo:
    """`image.json` of an image. Raises UpdateError."""
    try:
        version, compatible = str(document["version"]), str(document["compatible"])
        return ImageInfo(version, number_of(document["number"]), compatible)
    except KeyError as missing:
        raise UpdateError(
            Phrase("image.json lacks {missing}", missing=missing),
            hint=Phrase("The image is not as it was built: flash it."),
        ) from None


def floor_of(image: ImageInfo, highest_good: int) -> int:
    """The least number that is not older than what runs or ran here: a data partition that was put back to an earlier
    day forgets the highest good number, the image does not."""
    return max(image.number, highest_good)


def reasons_against(
    image: ImageInfo, bundle: BundleInfo, now: StationNow, *, again: bool = False, despite_meters: bool = False
) -> list[Reason]:
    """Everything that speaks against installing `bundle` now; empty: nothing does.

    `again`: a bundle of the very number that runs is wanted, to fill the other slot with it. `despite_meters`: a
    technician knows that no meter is read, and that this bundle is the remedy.
    """
    return [
        *_about_the_bundle(image, bundle, now.highest_good, again=again),
        *_about_the_moment(now, despite_meters=despite_meters),
    ]


def _about_the_bundle(image: ImageInfo, bundle: BundleInfo, highest_good: int, *, again: bool) -> Iterable[Reason]:
    if bundle.compatible != image.compatible:
        words = Phrase(
            "the bundle is for {theirs}, this station is {ours}", theirs=bundle.compatible, ours=image.compatible
        )
        yield Reason("compatible", words, final=True)
    floor = floor_of(image, highest_good)
    if bundle.number < floor:
        words = Phrase(
            "the bundle's number is {number}, older than {floor}, which has run here: no way back",
            number=bundle.number,
            floor=floor,
        )
        yield Reason("older", words, final=True)
    elif bundle.number == floor and not again:
        words = Phrase("number {floor} is here already; --again writes it over the other slot, too", floor=floor)
        yield Reason("same", words, final=True)


def _about_the_moment(now: StationNow, *, despite_meters: bool) -> Iterable[Reason]:
    if now.on_trial:
        # The target is the slot that would be gone back to.
        words = Phrase("the present image is on trial: the other slot is the way back until it has been marked good")
        yield Reason("trial", words, final=False)
    if not despite_meters and not any(meter.read for meter in now.meters):
        words = Phrase("no meter is read now: what the new image must do, the present one must be seen doing")
        yield Reason("meter", words, final=False)
    pouring = [meter.meter_id for meter in now.meters if meter.flowing]
    if pouring:
        yield Reason("pour", Phrase("water flows at {meters}", meters=", ".join(pouring)), final=False)
    if now.log_fault:
        yield Reason("log", Phrase("the log is not written now: {fault}", fault=now.log_fault), final=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a running image shows of itself at one moment."""

    read: frozenset[str]
    """Meters that are polled well, by id."""
    committed: bool
    """An event of this boot is in the log, and commits go on."""
    sync_alive: bool
    """Sync runs. Whether it reaches the cloud is no matter of the image's."""
    processes: tuple[int, ...] = ()
    """Process ids of reader and sync: one that was started again begins anew."""


def lacking(evidence: Evidence, expected: frozenset[str], configured: frozenset[str]) -> list[str]:
    """What is still missing, in words. `expected`: the meters that the former image read; those no longer configured
    are not asked for. Where none is known, one meter is enough."""
    wanted = expected & configured
    missing = sorted(wanted - evidence.read) if wanted else ([] if evidence.read else sorted(configured))
    words = [f"{'any of ' if not wanted and len(missing) > 1 else ''}{', '.join(missing)} read"] if missing else []
    words += [] if evidence.committed else ["an event of this boot committed"]
    return words + ([] if evidence.sync_alive else ["sync alive"])


class Proof:
    """Whether an image has proved itself, step by step. `within_ms` None: it has all the time there is."""

    def __init__(
        self,
        *,
        expected: frozenset[str],
        configured: frozenset[str],
        hold_ms: int = HOLD_MS,
        within_ms: int | None = TRIAL_MS,
    ) -> None:
        self._expected, self._configured = expected, configured
        self._hold_ms, self._within_ms = hold_ms, within_ms
        self._began_ms: int | None = None
        self._since_ms: int | None = None
        self._processes: tuple[int, ...] = ()
        self.lacking: list[str] = []
        """What was missing at the last step."""

    def step(self, evidence: Evidence, mono_ms: int) -> bool | None:
        """True: proved. False: the time is over. None: not yet. Once proved, the time that it took does not matter."""
        self._began_ms = mono_ms if self._began_ms is None else self._began_ms
        self.lacking = lacking(evidence, self._expected, self._configured)
        if self.lacking or evidence.processes != self._processes:
            self._since_ms = None
        self._processes = evidence.processes
        if not self.lacking:
            self._since_ms = mono_ms if self._since_ms is None else self._since_ms
            if mono_ms - self._since_ms >= self._hold_ms:
                return True
        if self._within_ms is not None and mono_ms - self._began_ms >= self._within_ms:
            return False
        return None
