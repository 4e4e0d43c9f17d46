"""What a run has shown: every kind in every state or not, and the figures, as text for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .plan import ENOUGH, KINDS, STATES

LEAST_FAULTS = 20


@dataclass
class Run:
    """A whole run, as its workers told it."""

    seed: int
    wanted: int
    results: list[Mapping[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def fired(self) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for result in self.results:
            for kind, state, times in result["fired"]:
                total[(kind, state)] += times
        return total

    def replay(self, index: int) -> str:
        """The command that repeats one sequence's draws."""
        return f"python -m tests.soak --seed {self.seed} --only {index}"

    def faults(self) -> list[str]:
        """What is wrong with the run; nothing where every sequence balanced and everything was tried."""
        wrong = [
            f"sequence {result['index']} failed: {result['failure'].splitlines()[0]}; {self.replay(result['index'])}"
            for result in self.results
            if result["failure"]
        ]
        if len(self.results) < self.wanted:
            wrong.append(f"only {len(self.results)} of {self.wanted} sequences came to their end")
        wrong += [
            f"sequence {result['index']} had only {count} faults"
            for result in self.results
            if (count := sum(times for _, _, times in result["fired"])) < LEAST_FAULTS and not result["failure"]
        ]
        if self.wanted >= ENOUGH:
            fired = self.fired
            wrong += [f"{kind} never struck {state}" for kind in KINDS for state in STATES if not fired[(kind, state)]]
        return wrong

    def markdown(self) -> str:
        """The report that is kept."""
        good = [result for result in self.results if not result["failure"]]
        seconds = sorted(float(result["seconds"]) for result in good) or [0.0]
        fired = self.fired
        about = (
            "`make soak` runs a simulated meter on a pseudo-terminal, the reader, sync, a relay and the cloud, does to"
            " them what is in the table, and compares meter, log and cloud to the microlitre and the last event. How it"
            " works: `tests/soak/`."
        )
        figures = (
            f"- seed {self.seed}: {len(good)} of {self.wanted} sequences ended with meter = log = cloud\n"
            f"- {sum(fired.values()):,} faults, {min(_counts(good))} to {max(_counts(good))} a sequence\n"
            f"- {_sum(good, 'events'):,} events in {_sum(good, 'streams'):,} streams,"
            f" {_sum(good, 'volume_ul') / 1e6:,.1f} litres; {_sum(good, 'operations'):,} operations, each done once\n"
            f"- {self.seconds:,.0f} s in all; a sequence took {seconds[len(seconds) // 2]:.1f} s (median),"
            f" {seconds[-1]:.1f} s (longest)"
        )
        lines = ["# Random faults against the real processes", "", about, "", figures, ""]
        lines += [_row(["struck while sync was", *STATES]), _row(["---", *("---:" for _ in STATES)])]
        lines += [_row([kind, *(str(fired[(kind, state)]) for state in STATES)]) for kind in KINDS]
        wrong = [f"- **{fault}**" for fault in self.faults()]
        return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _counts(results: Sequence[Mapping[str, Any]]) -> list[int]:
    return [sum(times for _, _, times in result["fired"]) for result in results] or [0]


def _sum(results: Sequence[Mapping[str, Any]], figure: str) -> int:
    return sum(int(result[figure]) for result in results)
