"""Finding the one row that the cloud refuses for good, and never condemning more than that (docs/protocol.md §6).

Pure. A refused batch is halved from its front until a single row stands alone; that row is then offered as its `gap`.
Only if the cloud accepts the same batch with the gap in the row's place is the row a dead letter: the cloud has shown
that it takes everything but this row. If it refuses the gap too, or the header, or if more than a few rows an hour are
found, then it is the cloud that is at fault: the stream is held, and everything stays where it is. One bad deployment
must not empty a fleet's logs into dead letters.

Only the front can be tried: the cloud takes a stream's rows in their order. What of it is accepted is delivered, so the
search costs log₂(rows) refusals and delivers everything before the row on its way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .outcome import Refused
from .phrases import Phrase

MOST_AN_HOUR = 10
"""Dead letters per stream and hour."""
HOUR_MS = 3_600_000
CLOUD_REFUSES = "cloud-refuses-everything"


@dataclass(frozen=True, slots=True)
class Portion:
    """What to send next of a suspected stream: so many rows from the mark on, or its first row as its gap."""

    rows: int
    as_gap: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A refusal with the trace id under which the cloud's log has it."""

    refused: Refused
    trace_id: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Among the first `rows` rows beyond the mark is one that the cloud refuses."""

    rows: int
    against: Verdict | None = None
    """The first row was refused when it stood alone."""

    @property
    def portion(self) -> Portion:
        """What to send next."""
        return Portion(1, as_gap=True) if self.against else Portion(max(1, self.rows // 2))


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing of this stream may be condemned: it is held, and its first row is tried again later."""

    reason: str


def after_refusal(sent: Portion, verdict: Verdict, *, may_condemn: bool) -> Suspicion | Blocked:
    """What a permanent refusal of `sent` leads to. `may_condemn`: the hour's ceiling has not been reached.

    `sent.as_gap` is also true for a row that is a gap already: there is nothing left to replace.
    """
    if sent.as_gap:
        return Blocked(Phrase("it refuses the row's gap as well"))
    if any(place == "$.stream" or place.startswith("$.stream.") for place in verdict.refused.wrong):
        return Blocked(Phrase("it refuses the stream's header"))
    if sent.rows > 1:
        return Suspicion(sent.rows)
    if not may_condemn:
        return Blocked(Phrase("it has refused {n} events of this stream within the hour", n=MOST_AN_HOUR))
    return Suspicion(1, verdict)


def after_delivery(before: Suspicion, rows: int) -> Suspicion | None:
    """What remains of a suspicion once `rows` rows have been accepted. None: nothing is suspected any more."""
    return Suspicion(before.rows - rows) if before.rows > rows else None


def may_condemn(dead_at_ms: Iterable[int], now_ms: int) -> bool:
    """Whether one more dead letter of a stream is below the hour's ceiling.

    Times are wall times. A clock that was set back or forward in between makes the ceiling count too much or begin
    anew, once.
    """
    return sum(abs(now_ms - at_ms) < HOUR_MS for at_ms in dead_at_ms) < MOST_AN_HOUR
