"""What sync counts of its own work since it started: the figures behind `aquasmart metrics`. Pure, bounded memory.

One `Tally` per process, told by the telemetry lane of each answer and each wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .metrics import Window
from .outcome import (
    Conflict,
    Delivered,
    HeaderWanted,
    Hold,
    KeyRefused,
    Outcome,
    PlainWanted,
    Refused,
    Retry,
    Rewind,
    Skewed,
    TooLarge,
    Unverified,
)

_CLASSES: dict[type[Outcome], str] = {
    Retry: "transient",
    Rewind: "ambiguous",
    HeaderWanted: "ambiguous",
    Conflict: "ambiguous",
    Skewed: "special",
    PlainWanted: "special",
    TooLarge: "special",
    Refused: "permanent",
    KeyRefused: "hold",
    Hold: "hold",
    Unverified: "unverified",
}
"""The classes of docs/protocol.md §6. Without any answer: `timeout` or `no-answer`."""

ERROR_CLASSES = (*dict.fromkeys(_CLASSES.values()), "timeout", "no-answer")


def error_class(outcome: Outcome, *, answered: bool) -> str | None:
    """The class of what went wrong; None where nothing did. `answered`: somebody gave a whole answer."""
    if isinstance(outcome, Delivered):
        return None
    if not answered:
        return "timeout" if isinstance(outcome, Retry) and outcome.timed_out else "no-answer"
    return _CLASSES[type(outcome)]


@dataclass(slots=True)
class Tally:
    """Counts and windows; durations in seconds."""

    processed: int = 0
    """Answers taken, and requests given up."""
    succeeded: int = 0
    retries: int = 0
    """Requests after the first one of the same batch."""
    retry_after: int = 0
    """Waits that the other side asked for."""
    idempotency_hits: int = 0
    """Acknowledgements of batches of which the cloud had something already."""
    duplicate_events: int = 0
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ERROR_CLASSES, 0))
    process_s: Window = field(default_factory=Window)
    """From sending to the whole answer."""
    backoff_s: Window = field(default_factory=Window)
    attempts: Window = field(default_factory=Window)
    """Requests that a batch needed until it was acknowledged."""
    delivery_s: Window = field(default_factory=Window)
    """From an event's own time to its acknowledgement: the first, the middle and the last event of each batch."""
    _trace_id: str = ""
    _attempt: int = 0

    def sent(self, trace_id: str) -> None:
        """A request leaves; the same trace id again is another attempt at the same batch."""
        self._attempt = self._attempt + 1 if trace_id == self._trace_id else 1
        self._trace_id = trace_id
        self.retries += self._attempt > 1

    def settled(self, outcome: Outcome, took_s: float, *, answered: bool) -> None:
        """A request has come to its outcome, its one repetition with another key or a corrected clock included."""
        self.processed += 1
        self.process_s.observe(took_s)
        wrong = error_class(outcome, answered=answered)
        if wrong is not None:
            self.errors[wrong] += 1
        if isinstance(outcome, Delivered):
            self.succeeded += 1
            self.attempts.observe(self._attempt)
            known = outcome.data.get("duplicates")
            if isinstance(known, int) and known > 0:
                self.idempotency_hits += 1
                self.duplicate_events += known

    def delivered(self, ages_s: tuple[float, ...]) -> None:
        """A batch is acknowledged; so old were some of its events."""
        for age_s in ages_s:
            self.delivery_s.observe(max(0.0, age_s))

    def waits(self, wait_s: float, *, told: bool) -> None:
        """A pause before the next attempt; `told`: the other side asked for it."""
        self.backoff_s.observe(wait_s)
        self.retry_after += told

    def document(self) -> dict[str, Any]:
        """For live.db: plain numbers, no windows."""
        return {
            "processed": self.processed,
            "succeeded": self.succeeded,
            "failed": self.processed - self.succeeded,
            "retries": self.retries,
            "retry_after": self.retry_after,
            "idempotency_hits": self.idempotency_hits,
            "duplicate_events": self.duplicate_events,
            "errors": self.errors,
            "process_s": self.process_s.document(),
            "backoff_s": self.backoff_s.document(),
            "attempts": self.attempts.document(),
            "delivery_s": self.delivery_s.document(),
        }
