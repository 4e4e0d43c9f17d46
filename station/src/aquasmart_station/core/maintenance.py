"""Updates of the image: when it is the time for what. Pure: clocks, offer and what the station shows are parameters.

An update goes through `""` (offered), downloading, downloaded, waiting, installing, installed, and ends as good,
fell-back, refused or failed. `next_action` says from any of these what is to be done now, so that a process that was
killed at any point goes on from what is on the disk. Nothing is fetched or installed outside the maintenance window,
while water runs, or while the present image does not read its meters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

OFFERED = ""
DOWNLOADING, DOWNLOADED, WAITING, INSTALLING, INSTALLED = (
    "downloading",
    "downloaded",
    "waiting",
    "installing",
    "installed",
)
GOOD, FELL_BACK, REFUSED, FAILED = "good", "fell-back", "refused", "failed"
ENDED = frozenset({GOOD, FELL_BACK, REFUSED, FAILED})

DAY_MIN = 1_440
PLACES = 1 << 20
MINUTE_MS = 60_000
MOST_INSTALLS = 3
"""An installation that was cut off so often is not tried again: something ends it each time."""
MOST_SPOILT = 3
"""So many whole downloads that were not what the cloud had named: then it is not the way's doing."""
FRESH_ANSWER_S = 300
"""Nothing is installed upon an answer of the cloud that is older: the roll-out may have been stopped since."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Window:
    """A daily window in UTC: minutes after midnight. `until` below `since` is past midnight; alike: all day."""

    since: int
    until: int

    @property
    def length_min(self) -> int:
        return (self.until - self.since) % DAY_MIN or DAY_MIN

    def open_for_ms(self, at_ms: int) -> int | None:
        """How long it has been open at this time, None while it is closed."""
        open_ms = (at_ms - self.since * MINUTE_MS) % (DAY_MIN * MINUTE_MS)
        return open_ms if open_ms < self.length_min * MINUTE_MS else None

    def __str__(self) -> str:
        return f"{_clock(self.since)} to {_clock(self.until)} UTC"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of itself, the one that runs as well as the one in a bundle."""

    version: str
    number: int
    compatible: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What the cloud offers, by a signed answer."""

    rollout_id: int
    stopped: bool
    window: Window
    sha256: str
    size_bytes: int
    image: Image


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an update has come, as it is kept on the disk."""

    rollout_id: int
    sha256: str
    size_bytes: int
    version: str
    number: int
    state: str = OFFERED
    told: str = OFFERED
    """The last state that was put into the operations' queue."""
    detail: str = ""
    spoilt: int = 0
    """Whole downloads whose SHA-256 was another."""
    installs: int = 0
    boot_id: str = ""
    """The boot in which it was installed: another one is the new image's, or the former's again."""

    @classmethod
    def of(cls, offer: Offer) -> Progress:
        image = offer.image
        return cls(offer.rollout_id, offer.sha256, offer.size_bytes, image.version, image.number)

    def moved(self, state: str, detail: str = "", **changes: Any) -> Progress:
        return replace(self, state=state, detail=detail[:400], **changes)

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at this moment."""

    at_ms: int | None
    """The time, None where no clock is to be believed."""
    place: int
    """This station's place in the first half of the window, of `PLACES`."""
    unfit: str
    """Why nothing may be done just now: a meter that is not read, water that runs. Empty where all is still."""
    image: Image | None
    """What runs; None where the station was not made from an image."""
    highest_good: int
    boot_id: str
    have_bytes: int
    """Of the bundle, on the disk."""
    checked: bool
    """Whether what is on the disk was found to have the offer's SHA-256, by this process."""
    short_bytes: int
    """How much room the rest of the bundle lacks beside what the log may need; 0 where it fits."""
    answer_age_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done now; why, for people."""

    why: str
    waits: bool = False
    """Whether a whole bundle waits for its time, which the cloud is told."""
    stale: bool = False
    """Whether the cloud is to be asked first."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Forget what was, begin with this offer."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Drop:
    """It is offered no more: forget it and its file."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the bundle from this byte on."""

    offset: int


@dataclass(frozen=True, slots=True)
class Check:
    """Read the whole file back and compare its SHA-256."""


@dataclass(frozen=True, slots=True)
class Install:
    """Install what was checked."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """Boot what was installed."""


@dataclass(frozen=True, slots=True)
class Conclude:
    """It has ended."""

    state: str
    detail: str


Action = Rest | Begin | Drop | Fetch | Check | Install | Reboot | Conclude


def next_action(progress: Progress | None, offer: Offer | None, facts: Facts) -> Action:
    """What is to be done now. `offer`: by the last verified answer since this process began, None for nothing."""
    if progress is not None and progress.state == INSTALLED:
        return _after_installing(progress, offer, facts)
    if offer is None:
        return Drop() if progress is not None and progress.state not in ENDED else Rest("nothing is offered")
    if progress is None or (progress.rollout_id, progress.sha256) != (offer.rollout_id, offer.sha256):
        return Rest("the roll-out is stopped") if offer.stopped else Begin(offer)
    if progress.state in ENDED:
        return Rest(f"version {progress.version}: {progress.state}")
    if offer.stopped:
        return Rest("the roll-out is stopped")
    return _verdict(offer, facts) or _under_way(progress, offer, facts)


def _verdict(offer: Offer, facts: Facts) -> Action | None:
    """What needs no download to be known. The installer asks the same of the signed manifest again."""
    image, offered = facts.image, offer.image
    if image is None:
        return Conclude(REFUSED, "this station was not made from an image")
    if offered.compatible != image.compatible:
        return Conclude(REFUSED, f"the bundle is for {offered.compatible}, this station is {image.compatible}")
    if offered.number == image.number:
        if facts.highest_good >= image.number:
            return Conclude(GOOD, f"version {image.version} runs already")
        return Rest(f"version {image.version} runs on trial")
    # A data partition that was put back to an earlier day forgets the highest good number; the image does not.
    floor = max(image.number, facts.highest_good)
    if offered.number <= floor:
        return Conclude(REFUSED, f"number {offered.number} is not above {floor}, which has run here")
    return None


def _under_way(progress: Progress, offer: Offer, facts: Facts) -> Action:
    if progress.spoilt >= MOST_SPOILT:
        return Conclude(REFUSED, "what the cloud sends is not the bundle that it names")
    whole = facts.have_bytes >= offer.size_bytes
    closed = _not_now(offer.window, facts)
    if closed:
        return Rest(closed, waits=whole and facts.checked)
    if not whole:
        opened_ms = offer.window.open_for_ms(facts.at_ms or 0) or 0
        wait_ms = facts.place * offer.window.length_min * MINUTE_MS // (2 * PLACES) - opened_ms
        if wait_ms > 0 and facts.have_bytes == 0:
            return Rest(f"its turn to download comes in {wait_ms // MINUTE_MS + 1} min")
        if facts.short_bytes:
            return Rest(f"no room: {facts.short_bytes:,} bytes more must be free beside what the log may need")
        return Fetch(facts.have_bytes)
    if not facts.checked:
        return Check()
    if progress.installs >= MOST_INSTALLS:
        return Conclude(FAILED, f"the installation was cut off {MOST_INSTALLS} times")
    if facts.answer_age_s > FRESH_ANSWER_S:
        return Rest("asks the cloud once more before it installs", stale=True)
    return Install()


def _after_installing(progress: Progress, offer: Offer | None, facts: Facts) -> Action:
    image = facts.image
    if progress.boot_id == facts.boot_id:
        if offer is None or offer.stopped or offer.rollout_id != progress.rollout_id:
            return Rest("installed; restarts only while the roll-out goes on")
        closed = _not_now(offer.window, facts)
        return Rest(f"installed; {closed}") if closed else Reboot()
    if image is None or image.number != progress.number:
        runs = "another" if image is None else f"version {image.version} (number {image.number})"
        return Conclude(FELL_BACK, f"{runs} runs: the new image did not prove itself")
    if facts.highest_good >= progress.number:
        return Conclude(GOOD, f"version {image.version} reads its meters, keeps its log and runs sync")
    return Rest(f"version {image.version} runs on trial")


def _not_now(window: Window, facts: Facts) -> str:
    """Why neither network nor disk is to be used now; empty where they may be."""
    if facts.at_ms is None:
        return "the time is not known: waits for the cloud or a time server"
    if window.open_for_ms(facts.at_ms) is None:
        return f"waits for its window, {window}"
    return facts.unfit


def place_in_window(station_id: str, rollout_id: int) -> int:
    """This station's place in the first half of a window, of `PLACES`: the same after every restart, so that a fleet
    that is offered one bundle does not fetch it in the same minute."""
    digest = hashlib.sha256(f"{station_id}:{rollout_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PLACES


def believed_ms(cloud_ms: int | None, wall_ms: int, quality: str) -> int | None:
    """The time that a window is held to: the cloud's, by a verified answer and the monotonic clock since; else the
    board's own where something keeps it right. A clock that was restored or never set opens no window."""
    if cloud_ms is not None:
        return cloud_ms
    return wall_ms if quality in {"ntp", "rtc"} else None


def read_offer(said: object) -> Offer | None:
    """An offer as it was on the wire. Raises ValueError where that is none."""
    if said is None:
        return None
    if not isinstance(said, Mapping):
        raise ValueError("update is no object")  # noqa: TRY004 - what is wrong is the value, whatever its type
    bundle, window = said.get("bundle"), said.get("window")
    if not isinstance(bundle, Mapping) or not isinstance(window, Mapping):
        raise ValueError("update lacks its bundle or its window")  # noqa: TRY004
    sha256 = _text(bundle, "sha256")
    if not _SHA256.fullmatch(sha256) or not isinstance(said.get("stopped"), bool):
        raise ValueError("update lacks a SHA-256, or whether it is stopped")
    image = Image(_text(bundle, "version"), _whole(bundle, "number"), _text(bundle, "compatible"))
    times = Window(_minutes(window, "from"), _minutes(window, "to"))
    return Offer(_whole(said, "rollout_id"), said["stopped"], times, sha256, _whole(bundle, "size_bytes"), image)


def read_progress(document: object) -> Progress | None:
    """What was kept; None where it is none, or of another form: then it begins anew, with what the disk holds."""
    if not isinstance(document, dict):
        return None
    kinds = {name: type(value) for name, value in asdict(Progress(0, "", 0, "", 0)).items()}
    if set(document) != set(kinds) or any(type(document[name]) is not kind for name, kind in kinds.items()):
        return None
    return Progress(**document)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise ValueError(f"{name} is no text")
    return value


def _whole(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 53:
        raise ValueError(f"{name} is no number from 1")
    return value


def _minutes(document: Mapping[str, Any], name: str) -> int:
    match = _CLOCK.fullmatch(str(document.get(name)))
    if match is None:
        raise ValueError(f"{name} is no time of day")
    return int(match[1]) * 60 + int(match[2])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
