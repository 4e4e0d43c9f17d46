"""Streams of which the cloud has refused something: the search for the row, and the hold where it is not a row.

The rule is core/bisecting.py; here it is kept per stream, so that one stream's trouble keeps no other waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..adapters.log_outbox import Outbox
from ..core.bisecting import (
    CLOUD_REFUSES,
    Blocked,
    Portion,
    Suspicion,
    Verdict,
    after_delivery,
    after_refusal,
    may_condemn,
)
from ..core.model import Kind
from ..core.phrases import Phrase, joined
from .packing import Packed


@dataclass(slots=True)
class _Held:
    until_s: float
    reason: str


class Suspects:
    """What is known against the streams of one outbox. `recheck_s`: how soon a held stream is tried again."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._suspicions: dict[int, Suspicion] = {}
        self._held: dict[int, _Held] = {}

    def blocked(self, now_s: float) -> frozenset[int]:
        """Streams whose turn has not come again."""
        return frozenset(number for number, held in self._held.items() if now_s < held.until_s)

    @property
    def portions(self) -> Mapping[int, Portion]:
        """What to send of each suspected stream."""
        return {number: suspicion.portion for number, suspicion in self._suspicions.items()}

    @property
    def hold(self) -> str:
        """What is held, in words; empty where nothing is."""
        reasons = sorted({held.reason for held in self._held.values()})
        return joined("; ", reasons)

    @property
    def next_s(self) -> float:
        """When the first held stream is tried again."""
        return min((held.until_s for held in self._held.values()), default=0.0)

    def refused(self, sent: Packed, verdict: Verdict, *, now_ms: int, until_s: float) -> bool:
        """Take note of a permanent refusal. True where the search goes on, False where the stream is held now."""
        lane, number = sent.lane, sent.lane.number
        rows = sent.batch.rows
        nothing_to_replace = sent.replaced is not None or (len(rows) == 1 and rows[0].kind == Kind.GAP.value)
        condemned = may_condemn(self._outbox.dead_letter_times_ms(lane), now_ms)
        after = after_refusal(Portion(len(rows), as_gap=nothing_to_replace), verdict, may_condemn=condemned)
        if isinstance(after, Suspicion):
            self._suspicions[number] = after
            return True
        assert isinstance(after, Blocked)
        # Next time its first row alone is asked about again: two requests each quarter of an hour, no more.
        self._suspicions[number] = Suspicion(1)
        refused = verdict.refused
        detail = f": {refused.detail}" if refused.detail else ""
        self._held[number] = _Held(
            until_s,
            Phrase(
                "{what}: {reason} ({code}{detail})",
                what=CLOUD_REFUSES,
                reason=after.reason,
                code=refused.code,
                detail=detail,
            ),
        )
        return False

    def delivered(self, sent: Packed) -> Verdict | None:
        """Take note of an acceptance. The verdict against the row that went as its gap, None where none did."""
        number = sent.lane.number
        self._held.pop(number, None)
        suspicion = self._suspicions.pop(number, None)
        if suspicion is None:
            return None
        if sent.replaced is not None:
            return suspicion.against
        remaining = after_delivery(suspicion, len(sent.batch.rows))
        if remaining is not None:
            self._suspicions[number] = remaining
        return None

    def forget(self, number: int) -> None:
        """The stream goes on from elsewhere: what was suspected was somewhere else."""
        self._suspicions.pop(number, None)
        self._held.pop(number, None)
