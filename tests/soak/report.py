"""What runs have shown: every kind in every state or not, and the figures, as text for a person.

A report may sum several runs, made on other days, with other seeds, at other commits: it says of each part which
sequences it had, and counts none twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .plan import ENOUGH, KINDS, STATES

LEAST_FAULTS = 20
Told = Mapping[str, Any]
"""One sequence, as its worker told it, with the `seed` and `commit` of its run."""


@dataclass
class Report:
    """Sequences that were asked for, by seed, and what came of them."""

    asked: dict[int, set[int]] = field(default_factory=dict)
    results: list[Told] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        return sum(map(len, self.asked.values()))

    @property
    def counted(self) -> list[Told]:
        """One result for each sequence: of several, the one that failed."""
        kept: dict[tuple[int, int], Told] = {}
        for result in self.results:
            identity = (result["seed"], result["index"])
            if identity not in kept or (result["failure"] and not kept[identity]["failure"]):
                kept[identity] = result
        return list(kept.values())

    def faults(self) -> list[str]:
        """What is wrong; nothing where every sequence asked for balanced and everything was tried."""
        counted = self.counted
        wrong = [
            f"sequence {result['index']} failed: {result['failure'].splitlines()[0]}; {replay(result)}"
            for result in counted
            if result["failure"]
        ]
        come = {(result["seed"], result["index"]) for result in counted}
        for seed, indices in self.asked.items():
            missing = sorted(index for index in indices if (seed, index) not in come)
            if missing:
                wrong.append(f"seed {seed}: {len(missing)} of {len(indices)} sequences have no end: {spans(missing)}")
        wrong += [
            f"sequence {result['index']} had only {count} faults; {replay(result)}"
            for result in counted
            if (count := struck([result]).total()) < LEAST_FAULTS and not result["failure"]
        ]
        if self.wanted >= ENOUGH:
            fired = struck(counted)
            wrong += [f"{kind} never struck {state}" for kind in KINDS for state in STATES if not fired[(kind, state)]]
        return wrong

    def markdown(self) -> str:
        """The report that is kept."""
        counted = self.counted
        good = [result for result in counted if not result["failure"]]
        seconds = sorted(float(result["seconds"]) for result in good) or [0.0]
        fired, each = struck(counted), [struck([result]).total() for result in good] or [0]
        about = (
            "`make soak` runs a simulated meter on a pseudo-terminal, the reader, sync, a relay and the cloud, does to"
            " them what is in the table, and compares meter, log and cloud to the microlitre and the last event. How it"
            " works: `tests/soak/`."
        )
        figures = (
            f"- {len(good):,} of {self.wanted:,} sequences ended with meter = log = cloud\n"
            f"- {fired.total():,} faults, {min(each)} to {max(each)} a sequence\n"
            f"- {_sum(good, 'events'):,} events in {_sum(good, 'streams'):,} streams,"
            f" {_sum(good, 'volume_ul') / 1e6:,.1f} litres; {_sum(good, 'operations'):,} operations, each done once\n"
            f"- a sequence took {seconds[len(seconds) // 2]:.1f} s (median), {seconds[-1]:.1f} s (longest)"
        )
        lines = ["# Random faults against the real processes", "", about, "", figures, "", *_parts(counted), ""]
        lines += [_row(["struck while sync was", *STATES]), _row(["---", *("---:" for _ in STATES)])]
        lines += [_row([kind, *(str(fired[(kind, state)]) for state in STATES)]) for kind in KINDS]
        wrong = [f"- **{fault}**" for fault in self.faults()]
        return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


def replay(result: Told) -> str:
    """The command that repeats one sequence's draws."""
    return f"python -m tests.soak --seed {result['seed']} --only {result['index']}"


def struck(results: Iterable[Told]) -> Counter[tuple[str, str]]:
    """How often each kind struck each state."""
    total: Counter[tuple[str, str]] = Counter()
    for result in results:
        for kind, state, times in result["fired"]:
            total[(kind, state)] += times
    return total


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers for a person: 0–499, 503."""
    runs = ([n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]))
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _parts(counted: Sequence[Told]) -> list[str]:
    """A row for the sequences of each seed and commit."""
    parts: dict[tuple[int, str], list[Told]] = {}
    for result in counted:
        parts.setdefault((result["seed"], result["commit"]), []).append(result)
    lines = [_row(["seed", "commit", "sequences", "", "faults", "verdict"]), _row(["---", "---", "---", *["---:"] * 3])]
    for (seed, commit), results in parts.items():
        failed = sum(bool(result["failure"]) for result in results)
        verdict = f"**{failed} failed**" if failed else "all equal"
        indices = spans(sorted(result["index"] for result in results))
        faults = f"{struck(results).total():,}"
        lines.append(_row([str(seed), f"`{commit}`", indices, f"{len(results):,}", faults, verdict]))
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _sum(results: Sequence[Told], figure: str) -> int:
    return sum(int(result[figure]) for result in results)
