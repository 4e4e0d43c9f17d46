"""What services show of themselves: values for live.db and the status line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .phrases import Phrase

LOG_DAMAGED = "log-damaged"
"""The reader's last word where the log is malformed. Sync sees it and ends too: the check needs both to let go."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a service says of itself: a word, a line for people, figures for programs."""

    state: str
    text: str
    figures: Mapping[str, Any]
    beat_mono_ms: int
    beat_at_ms: int
    pid: int = 0


@dataclass(frozen=True, slots=True)
class MeterState:
    """What the reader knows of one meter at this moment. Counts are unwrapped positions in `epoch`."""

    meter_id: str
    state: str
    epoch: str | None
    counts: int | None
    raw_counts: int | None
    flow_ul_s: int | None
    at_ms: int | None
    text: str
    figures: Mapping[str, Any]


def litres(volume_ul: int, places: int = 3) -> str:
    """Microlitres as litres with 1 to 6 decimals; cut, never rounded up: nobody is told of water that is not there."""
    whole, rest = divmod(abs(volume_ul), 1_000_000)
    return f"{'-' if volume_ul < 0 else ''}{whole}.{f'{rest:06}'[:places]}"


def ago(seconds: float) -> str:
    """A duration for people: 5 s, 3 min, 2 h, 4 days."""
    for limit, unit_s, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds)) // unit_s} {name}"
    return Phrase("{n} days", n=int(seconds) // 86_400)


STATES = {
    str(phrase): phrase
    for phrase in (
        *(Phrase("running"), Phrase("starting"), Phrase("stopped"), Phrase("not-running"), Phrase("unknown")),
        *(Phrase("online"), Phrase("offline"), Phrase("unverified"), Phrase("hold")),
        *(Phrase("log-fault"), Phrase("log-damaged"), Phrase("reader-not-running")),
        *(Phrase("ok"), Phrase("waiting"), Phrase("silent"), Phrase("link-down"), Phrase("suspect"), Phrase("frozen")),
    )
}
"""The words that services and meters are in, as people read them. Programs get the word itself."""


def state_words(state: str) -> str:
    """A state for people; one that is not known here as it is."""
    return STATES.get(state, state)
