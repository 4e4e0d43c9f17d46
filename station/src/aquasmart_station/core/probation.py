"""Whether a new configuration breaks polling or the link: judged against the ten minutes before, with the link up.

Pure, in whole numbers. A configuration that may end the only connection there is must end itself when it does; but an
outage that merely follows it is no reason. So time counts only while a request with the *former* settings comes
through: that is what "the link is up" means here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASELINE_MS = 600_000
TRIAL_MS = 600_000
LEAST_POLLS = 20
"""Fewer say nothing about a line."""


@dataclass(frozen=True, slots=True)
class Polls:
    """Polls answered and lost."""

    good: int = 0
    bad: int = 0

    @property
    def all(self) -> int:
        return self.good + self.bad

    def since(self, before: Polls) -> Polls:
        """What came since; a counter that fell began anew with its process."""
        if self.good < before.good or self.bad < before.bad:
            return self
        return Polls(self.good - before.good, self.bad - before.bad)

    def plus(self, other: Polls) -> Polls:
        return Polls(self.good + other.good, self.bad + other.bad)

    def document(self) -> dict[str, int]:
        return {"good": self.good, "bad": self.bad}

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> Polls:
        """The inverse; nothing where it says nothing."""
        found = document or {}
        good, bad = found.get("good"), found.get("bad")
        return cls(good if isinstance(good, int) else 0, bad if isinstance(bad, int) else 0)


@dataclass(frozen=True, slots=True)
class Trial:
    """What has been seen since a configuration came into force."""

    judged_ms: int
    """With the link up."""
    polls: Polls
    """Seen in that time."""
    silent_ms: int
    """For how much of that, up to now, no request with the *new* settings was answered by the cloud."""


def verdict(before: Polls, trial: Trial, *, trial_ms: int = TRIAL_MS) -> str | None:
    """Why the configuration must go, in words; empty where it has passed; None while that is open."""
    if trial.silent_ms * 5 >= trial_ms:
        silent_s = trial.silent_ms // 1000
        return f"with the former settings the cloud is reached, with these it has not been for {silent_s} s"
    if _worse(before, trial.polls) and trial.judged_ms * 5 >= trial_ms:
        return f"{trial.polls.good} of {trial.polls.all} polls were answered, before that {before.good} of {before.all}"
    return "" if trial.judged_ms >= trial_ms else None


def _worse(before: Polls, now: Polls) -> bool:
    """Fewer than half as many polls are answered as before, in proportion; a line that was dead before is no loss."""
    if before.all < LEAST_POLLS or before.good * 2 < before.all:
        return False
    if now.all == 0:
        return True
    return 2 * now.good * before.all < before.good * now.all
