"""What sync says of itself: figures, the status line, live.db. A technician reads this at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.model import Row
from ..core.phrases import Phrase, counted, joined
from ..core.ports import Clock, LiveDisplay, Watchdog
from ..core.showing import ServiceState, ago, state_words
from ..core.tally import Tally

SHOW_EVERY_S = 0.5
_TRYING = frozenset({"offline", "unverified", "hold", "log-fault"})
"""States in which sync waits and tries again by itself."""


@dataclass(slots=True)
class Figures:
    """What has happened since the process started."""

    state: str = "starting"
    since_ms: int = 0
    text: str = ""
    error: str = ""
    """The last thing that went wrong, kept while all is well again: a technician asks what it was."""
    error_at_ms: int = 0
    pending: int = 0
    oldest_at_ms: int | None = None
    events_delivered: int = 0
    requests: int = 0
    failures: int = 0
    bytes_sent: int = 0
    acknowledged_at_ms: int | None = None
    verified_at_ms: int | None = None
    difference: str = ""
    trace_id: str = ""
    """Of the latest request with events."""
    saving_power: bool = False
    tally: Tally = field(default_factory=Tally)

    def sent(self, trace_id: str, body_bytes: int) -> None:
        """A request with events leaves."""
        self.requests += 1
        self.bytes_sent += body_bytes
        self.trace_id = trace_id
        self.tally.sent(trace_id)

    dead_letters: int = 0
    """Events that the cloud refuses for good."""
    fleet: int = 0
    """How many stations the cloud says there are: over so many a first request spreads."""

    def say(self, state: str, text: str, now_ms: int) -> None:
        """Enter a state; `since` moves only when the word changes."""
        if state != self.state:
            self.since_ms = now_ms
        self.state, self.text = state, text

    def verified(self, now_ms: int) -> None:
        self.verified_at_ms = now_ms

    def delivered(self, rows: int, pending: int, now_ms: int, difference: str) -> None:
        self.events_delivered += rows
        self.pending, self.acknowledged_at_ms = pending, now_ms
        self.difference = difference or self.difference

    def failed(self, state: str, reason: str, now_ms: int, wait_s: float, *, told: bool = False) -> None:
        """Again after `wait_s`; `told`: the other side asked for that wait."""
        self.failures += 1
        self.tally.waits(wait_s, told=told)
        self.error, self.error_at_ms = reason, now_ms
        self.say(state, reason, now_ms)


def ages_s(rows: Sequence[Row], now_ms: int) -> tuple[float, ...]:
    """How old the first, the middle and the last of a batch's rows are, in seconds."""
    return tuple((now_ms - rows[index].at_ms) / 1000 for index in (0, len(rows) // 2, -1))


class SyncDisplay:
    """Shows `Figures` where people look, at most twice a second."""

    def __init__(
        self,
        live: LiveDisplay,
        watchdog: Watchdog,
        clock: Clock,
        link: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._live, self._watchdog, self._clock, self._link = live, watchdog, clock, link
        self._shown_s = 0.0

    def show(self, figures: Figures, now_s: float, not_before_s: float, *, force: bool = False) -> None:
        if not force and now_s - self._shown_s < SHOW_EVERY_S:
            return
        self._shown_s = now_s
        now_ms = self._clock.wall_ns() // 1_000_000
        next_s = max(0.0, round(not_before_s - now_s, 1))
        text = status_text(figures, now_ms, next_s)
        self._watchdog.status(text)
        said = {
            "pending": figures.pending,
            "oldest_at_ms": figures.oldest_at_ms,
            "since_ms": figures.since_ms,
            "reason": figures.text,
            "events_delivered": figures.events_delivered,
            "requests": figures.requests,
            "failures": figures.failures,
            "bytes_sent": figures.bytes_sent,
            "acknowledged_at_ms": figures.acknowledged_at_ms,
            "verified_at_ms": figures.verified_at_ms,
            "difference": figures.difference,
            "trace_id": figures.trace_id,
            "saving_power": figures.saving_power,
            "tally": figures.tally.document(),
            "link": self._link(),
            "dead_letters": figures.dead_letters,
            "fleet": figures.fleet,
            "next_attempt_s": next_s,
            "error": figures.error,
            "error_at_ms": figures.error_at_ms or None,
        }
        self._live.show("sync_state", ServiceState(figures.state, text, said, int(now_s * 1000), now_ms))


def status_text(figures: Figures, now_ms: int, next_attempt_s: float) -> str:
    """The one line of `systemctl status aquasmart-sync`: the state and since when, what waits, the last
    acknowledgement, the reason and the next attempt, and the last error where that is over."""
    state = state_words(figures.state)
    if figures.since_ms:
        state = Phrase("{state} for {time}", state=state, time=ago((now_ms - figures.since_ms) / 1000))
    parts = [state]
    if figures.text:
        parts.append(figures.text)
    if figures.state in _TRYING:
        soon = Phrase("trying now")
        parts.append(Phrase("next attempt in {time}", time=ago(next_attempt_s)) if next_attempt_s >= 1 else soon)
    parts.append(_waiting(figures, now_ms))
    if figures.acknowledged_at_ms is not None:
        time = ago((now_ms - figures.acknowledged_at_ms) / 1000)
        parts.append(Phrase("last acknowledgement {time} ago", time=time))
    else:
        parts.append(Phrase("no acknowledgement since start"))
    if figures.error and figures.error != figures.text:
        time = ago((now_ms - figures.error_at_ms) / 1000)
        parts.append(Phrase("last error {time} ago: {error}", time=time, error=figures.error))
    if figures.saving_power:
        parts.append(Phrase("saving power: asks less often"))
    if figures.dead_letters:
        parts.append(Phrase("{n} refused for good: aquasmart dead-letters list", n=figures.dead_letters))
    if figures.difference:
        parts.append(Phrase("BOOKS DIFFER: {difference}", difference=figures.difference))
    return joined(" · ", parts)


def _waiting(figures: Figures, now_ms: int) -> str:
    if not figures.pending:
        return Phrase("everything delivered")
    text = counted("{n} event waiting", "{n} events waiting", figures.pending)
    if figures.oldest_at_ms is None:
        return text
    time = ago((now_ms - figures.oldest_at_ms) / 1000)
    return Phrase("{events}, the oldest for {time}", events=text, time=time)
