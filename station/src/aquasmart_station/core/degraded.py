"""Why the station is degraded: a set of reasons, and what each means to the person who reads it. Pure.

A reason is a word such as `disk-full`, with the meter after a colon where it concerns one: `sensor-stuck:tap-1`.
While any is active, rows carry the flag `degraded`; each change of the set becomes a `degraded` row.
"""

from __future__ import annotations

from .phrases import Phrase, joined

RING_NEAR_CAPACITY = "ring-near-capacity"
DISK_FULL = "disk-full"
DISK_LOW = "disk-low"
DISK_SLOW = "disk-slow"
LOG_OVER_BUDGET = "log-over-budget"
WAL_LARGE = "wal-large"

HURRY = frozenset({RING_NEAR_CAPACITY, DISK_FULL, LOG_OVER_BUDGET})
"""With one of these active sync is asked to hurry: what the cloud has can make room."""

COVERED = {DISK_FULL: DISK_LOW}
"""A reason that says more than another: of the two only the first is active. A disk that is full is not also low."""

WORDS = {
    RING_NEAR_CAPACITY: Phrase(
        "the log cannot be written fast enough; readings are merged in memory, every count is kept"
    ),
    DISK_FULL: Phrase(
        "the data partition is full; free space on it. Counting goes on in the space the log keeps for this"
    ),
    DISK_SLOW: Phrase("a commit took longer than a second; the card may be worn or busy"),
    LOG_OVER_BUDGET: Phrase(
        "the log is near its budget with events the cloud has not taken; the oldest are being merged"
    ),
    WAL_LARGE: Phrase("something has held the log open for reading for minutes; end that program (an export, a copy)"),
    "rail-low": Phrase("the supply voltage is too low; check power supply and cable"),
    "throttled": Phrase("the board runs slowly because it is hot or its supply is weak"),
    "clock-unset": Phrase("the time is not known; connect the network or set the clock"),
    DISK_LOW: Phrase("the data partition is getting full; see what else fills it. Nothing is short yet"),
    "memory-low": Phrase("the board is short of memory; see what else runs on it"),
    "hot": Phrase("the board is at 80 °C or more and will slow itself down; give it air, keep the sun off it"),
    "sensor-stuck": Phrase("water was expected and the meter's count does not move; check valve and sensor"),
    "leak": Phrase("water runs that is nobody's pour, booked as leak; look at the valve and the hose"),
    "no-flow": Phrase("not a count for so long that something may be wrong; is the tap open, is there water?"),
    "link-down": Phrase(
        "the meter's port is gone; look at the adapter, its plug and its cable. It is tried again by itself"
    ),
    "silent": Phrase(
        "the port is there and the meter does not answer; look at its supply, the wiring, baud and parity"
    ),
    "frozen": Phrase("another meter answers here; nothing of it is counted until the swap is acknowledged"),
}


class Reasons:
    """The reasons that are active. Setting, clearing and reading may happen in any thread."""

    def __init__(self) -> None:
        # A dict and not a set that is replaced: one insertion or removal cannot lose another's.
        self._active: dict[str, None] = {}
        self._noted: frozenset[str] = frozenset()

    def set(self, reason: str) -> None:
        self._active[reason] = None

    def clear(self, reason: str) -> None:
        self._active.pop(reason, None)

    def put(self, reason: str, *, on: bool) -> None:
        """Set or clear."""
        if on:
            self.set(reason)
        else:
            self.clear(reason)

    @property
    def active(self) -> frozenset[str]:
        active = frozenset(self._active)
        return active - {less for more, less in COVERED.items() if more in active}

    @property
    def changed(self) -> bool:
        """Whether the set differs from what was last noted."""
        return self.active != self._noted

    def note(self) -> list[str]:
        """Take note of the present set, which is then no longer `changed`; in alphabetical order."""
        self._noted = self.active
        return sorted(self._noted)


def words(reason: str) -> str:
    """What a reason means and what to do, for people."""
    name, _, of = reason.partition(":")
    text: str = WORDS.get(name, name)
    return joined(": ", [of, text]) if of else text
