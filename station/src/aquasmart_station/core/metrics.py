"""Metrics as values, and Prometheus' text exposition format 0.0.4. Pure; nothing here knows what is measured.

Memory is bounded by construction: a `Window` keeps the last thousand values, whatever comes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

WINDOW = 1_024
"""Values that percentiles are taken of: at ten batches a second the last two minutes, when idle the last hour."""

Kind = Literal["counter", "gauge", "summary"]


class Window:
    """Values observed: how many and their sum since the start, percentiles of the last `WINDOW`. 8 KiB at most."""

    __slots__ = ("_last", "_shown", "count", "total")

    def __init__(self) -> None:
        self._last = array("d")
        self._shown: dict[str, Any] = {}
        self.count = 0
        self.total = 0.0

    def observe(self, value: float) -> None:
        if len(self._last) < WINDOW:
            self._last.append(value)
        else:
            self._last[self.count % WINDOW] = value
        self.count += 1
        self.total += value

    def quantile(self, per_mille: int) -> float | None:
        """The nearest-rank percentile of the last values; None while there are none."""
        if not self._last:
            return None
        ordered = sorted(self._last)
        return ordered[min(len(ordered) - 1, len(ordered) * per_mille // 1000)]

    def document(self) -> dict[str, Any]:
        """For `summary`. Shown twice a second and mostly unchanged, so it is sorted only after a new value."""
        if self._shown.get("count") != self.count:
            self._shown = {
                "count": self.count,
                "sum": round(self.total, 6),
                "p50": _rounded(self.quantile(500)),
                "p99": _rounded(self.quantile(990)),
            }
        return self._shown


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the metric's name with `suffix`, its labels, its value."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `help` is one sentence with the unit."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


def counter(name: str, text: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """What only grows while the process lives; a mapping gives a sample for each value of `label`."""
    return Family(name, "counter", text, _samples(value, label))


def gauge(name: str, text: str, value: float | Mapping[str, float] | None, label: str = "") -> Family:
    """What goes up and down; None: unknown at present, no sample."""
    return Family(name, "gauge", text, [] if value is None else _samples(value, label))


def summary(name: str, text: str, window: Mapping[str, Any]) -> Family:
    """A `Window` by its document."""
    quantiles = [
        Sample(window[key], {"quantile": quantile})
        for key, quantile in (("p50", "0.5"), ("p99", "0.99"))
        if window.get(key) is not None
    ]
    rest = [Sample(window.get("sum", 0), suffix="_sum"), Sample(window.get("count", 0), suffix="_count")]
    return Family(name, "summary", text, [*quantiles, *rest])


def _samples(value: float | Mapping[str, float], label: str) -> list[Sample]:
    if isinstance(value, Mapping):
        return [Sample(number, {label: name}) for name, number in value.items()]
    return [Sample(value)]


def render(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes. A family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help, quotes=False)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [f"{family.name}{s.suffix}{_labels(s.labels)} {_number(s.value)}" for s in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items()) + "}"


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    """Whole numbers without a point, exactly: a count above 2^53 keeps its last digit here."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() else repr(value)
