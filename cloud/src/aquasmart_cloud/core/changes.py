"""What a batch changed in its station's rollups, as its row of the processing log tells it. Pure.

By minute, from which hours and days follow. The log has one row for each request, in order, in the same transaction
as the rollups; whoever adds up what several stations counted reads it from there, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

MINUTE_MS = 60_000


class Change(NamedTuple):
    """What is added to one minute; any of it may be negative, where volume moved to another minute."""

    bucket_at: int
    volume_ul: int
    disputed_ul: int
    events: int


class Logged(msgspec.Struct):
    """What the log says of a request. `minutes` is absent where nothing was inserted, and in rows of older software."""

    stream: str
    inserted: int
    minutes: list[list[int]] | None = None

    @property
    def told(self) -> bool:
        """Whether it says all that was changed."""
        return self.minutes is not None or not self.inserted


def minutes_text(minutes: Mapping[int, Sequence[int]]) -> str:
    """Changes by minute (ms → volume, disputed µl, events) as JSON: [minutes since the one before, events, volume,
    disputed], what is 0 at the end left out. An idle hour of heartbeats is some 7 bytes a minute."""
    parts, before = [], 0
    for bucket_at in sorted(minutes):
        volume_ul, disputed_ul, events = minutes[bucket_at]
        minute = bucket_at // MINUTE_MS
        if disputed_ul:
            parts.append(f"[{minute - before},{events},{volume_ul},{disputed_ul}]")
        elif volume_ul:
            parts.append(f"[{minute - before},{events},{volume_ul}]")
        else:
            parts.append(f"[{minute - before},{events}]")
        before = minute
    return f"[{','.join(parts)}]"


def changes(logged: Logged) -> list[Change]:
    """Read back. Errors: ValueError for what minutes_text does not write."""
    found, minute = [], 0
    for gap, events, *volumes in logged.minutes or ():
        minute += gap
        volume_ul, disputed_ul = (*volumes, 0, 0)[:2]
        found.append(Change(minute * MINUTE_MS, volume_ul, disputed_ul, events))
    return found


def logged(detail: str) -> Logged:
    """The detail of a row of the log. Errors: msgspec.DecodeError."""
    return msgspec.json.decode(detail, type=Logged)
