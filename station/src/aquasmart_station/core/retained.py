"""What the station still holds, stream by stream, as the heartbeat tells the cloud (docs/protocol.md §7). Pure.

A cloud that was restored from a backup finds out by this list what it lacks, closed streams too, of which no row would
ever be sent again by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard


@dataclass(frozen=True, slots=True)
class Holding:
    """One stream of which events are left: the first seq of them, and where the stream ends."""

    stream: str
    first_seq: int
    through: int
    counts_through: int
    closed: bool

    def document(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "from": self.first_seq,
            "through": self.through,
            "counts_through": self.counts_through,
        }


def retained_digest(holdings: Iterable[Holding]) -> str:
    """64 hex digits over the closed streams: equal as long as the cloud's list says the same of them.

    SHA-256 over a line `stream:through:counts_through` for each, in the order of the ids. Where a stream begins is left
    out: pruning moves it, and it changes nothing for the cloud.
    """
    closed = sorted((each.stream, each.through, each.counts_through) for each in holdings if each.closed)
    return hashlib.sha256("".join(f"{s}:{t}:{c}\n" for s, t, c in closed).encode()).hexdigest()


def read_resend_from(data: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(stream, seq wanted next, the cloud's counts before it) from a heartbeat's answer, without what has no sense."""
    wanted = data.get("resend_from")
    found: list[tuple[str, int, int]] = []
    for each in wanted if isinstance(wanted, list) else []:
        if isinstance(each, dict):
            stream, seq, counts = each.get("stream"), each.get("expected_seq"), each.get("counts_through")
            if isinstance(stream, str) and _whole(seq, 1) and _whole(counts, 0):
                found.append((stream, seq, counts))
    return found


def _whole(value: object, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
