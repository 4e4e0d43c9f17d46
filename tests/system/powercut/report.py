"""What a run of power cuts has shown, as text for a person and as a list of what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .rig import LEAST_COMMITS, Cycle

COVERED = ("commit", "prune", "checkpoint", "migration")
"""What must have been under way at some cut, in a run of twenty or more."""
ENOUGH = 20
ABOUT = (
    "A machine under QEMU runs the reader and sync; its drive's cache is nbdkit's. SIGKILL of both is the cut. The"
    " meter, its own count file and the cloud are on the host. Each row is told to the host after its commit."
)


@dataclass
class Run:
    """A whole run. `failures` are those of no single cycle."""

    seed: int
    wanted: int
    cycles: list[Cycle] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def histogram(self) -> Counter[str]:
        return Counter(cycle.under_way or "nothing" for cycle in self.cycles)

    @property
    def lost(self) -> int:
        return sum(cycle.lost for cycle in self.cycles)

    def faults(self) -> list[str]:
        """What is wrong; nothing where every committed row was found again and the cuts fell everywhere."""
        wrong = list(self.failures)
        if len(self.cycles) < self.wanted:
            wrong.append(f"only {len(self.cycles)} of {self.wanted} cycles came to their cut")
        for cycle in self.cycles:
            wrong += [f"cycle {cycle.number} ({cycle.aim}): {failure}" for failure in cycle.failures]
            if cycle.commits < LEAST_COMMITS and not cycle.failures:
                wrong.append(f"cycle {cycle.number} ({cycle.aim}) was cut after {cycle.commits} commits")
        if self.wanted >= ENOUGH:
            wrong += [f"no cut fell into a {name}" for name in COVERED if not self.histogram[name]]
        return wrong

    def markdown(self) -> str:
        """The report."""
        commits, rows = sum(c.commits for c in self.cycles), sum(c.rows for c in self.cycles)
        lines = [
            "# Power cuts",
            "",
            ABOUT,
            "",
            f"- seed {self.seed}: {len(self.cycles)} of {self.wanted} cuts, {commits:,} commits, {rows:,} rows told",
            f"- lost: {self.lost}",
            "- under way at the cut: " + ", ".join(f"{name} {count}" for name, count in self.histogram.most_common()),
        ]
        return "\n".join([*lines, *(f"- **{fault}**" for fault in self.faults())]) + "\n"
