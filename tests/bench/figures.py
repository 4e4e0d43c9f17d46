"""A figure: what was measured, what was promised, and what the plain way of doing it gave in the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value. `budget` None: published only. `value` None: not measurable here, `why_not` says why."""

    name: str
    value: float | None
    unit: str
    budget: float | None = None
    at_least: bool = False
    """Whether the budget is a floor (a rate) rather than a ceiling (a cost)."""
    reference: float | None = None
    reference_is: str = ""
    why_not: str = ""

    @property
    def holds(self) -> bool | None:
        if self.value is None or self.budget is None:
            return None
        return self.value >= self.budget if self.at_least else self.value <= self.budget

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "value": _short(self.value),
            "unit": self.unit,
            "budget": _short(self.budget),
            "holds": self.holds,
            "reference": _short(self.reference),
            "reference_is": self.reference_is,
        }
        return document | ({"why_not": self.why_not} if self.why_not else {})


@dataclass(frozen=True)
class Sizes:
    """How much each part measures: `FULL` for the figures, `TINY` to prove that the bench itself works."""

    commits: int
    warm_commits: int
    naive_events: int
    backlog_rows: int
    naive_backlog_rows: int
    naive_slow_rows: int
    """Of the naive scheme, where each request takes half a second and more."""
    ingest_rows: dict[int, int]
    """Rows per batch → rows in all."""
    naive_ingest_rows: int
    present_events: tuple[int, ...]
    """How many are there when the intake is measured again."""
    growth_batches: int
    """Of each sender in each of those runs."""
    stations: int
    minutes: int
    month_batches: int
    """Of 10,000 events, for each of four stations."""
    foreign_events: int
    queries: int
    recoveries: int
    drains: int
    settle_s: float
    online_s: float
    operations: int
    operation_samples: int
    reader_events: tuple[int, int]
    """Committed by one reader when its memory is looked at, the first and the second time."""
    stall_settle: bool
    """Whether to wait until the reader's window of polls holds nothing but the state that is measured."""


FULL = Sizes(
    commits=4_000,
    warm_commits=3_000,
    naive_events=3_000,
    backlog_rows=100_000,
    naive_backlog_rows=20_000,
    naive_slow_rows=1_000,
    ingest_rows={50: 400_000, 500: 3_000_000, 2_000: 6_000_000},
    naive_ingest_rows=200_000,
    present_events=(1_000_000, 10_000_000),
    growth_batches=200,
    stations=500,
    minutes=180,
    month_batches=260,
    foreign_events=20_000,
    queries=60,
    recoveries=3,
    drains=3,
    settle_s=8.0,
    online_s=45.0,
    operations=1_000,
    operation_samples=30,
    reader_events=(100_000, 1_000_000),
    stall_settle=True,
)
TINY = Sizes(
    commits=30,
    warm_commits=10,
    naive_events=30,
    backlog_rows=300,
    naive_backlog_rows=150,
    naive_slow_rows=100,
    ingest_rows={50: 400},
    naive_ingest_rows=400,
    present_events=(20_000,),
    growth_batches=2,
    stations=3,
    minutes=5,
    month_batches=1,
    foreign_events=200,
    queries=3,
    recoveries=1,
    drains=1,
    settle_s=1.0,
    online_s=5.0,
    operations=20,
    operation_samples=3,
    reader_events=(1_000, 3_000),
    stall_settle=False,
)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def write(figures: Sequence[Figure], path: Path) -> None:
    """`path` becomes a flat object of name → figure: what this run measured, and nothing older."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {figure.name: figure.document() for figure in figures}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def show(figures: Sequence[Figure], console: Console) -> None:
    """The table for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("figure", "value", "unit", "budget", "holds", "reference"):
        justify: JustifyMethod = "right" if title in {"value", "budget"} else "left"
        table.add_column(title, justify=justify, no_wrap=title != "reference")
    for figure in figures:
        bound = "" if figure.budget is None else ("≥ " if figure.at_least else "≤ ") + _text(figure.budget)
        holds = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[figure.holds]
        reference = "" if figure.reference is None else f"{_text(figure.reference)} {figure.reference_is}"
        said = f"not run: {figure.why_not}" if figure.why_not else reference
        table.add_row(figure.name, _text(figure.value), figure.unit, bound, holds, said)
    console.print(table)


def _short(value: float | None) -> float | int | None:
    """Four significant digits: more would pretend."""
    if value is None:
        return None
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def _text(value: float | None) -> str:
    return "–" if value is None else f"{_short(value):,}"
