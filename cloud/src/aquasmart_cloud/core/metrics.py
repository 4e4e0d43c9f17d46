"""Metrics as values, and Prometheus' text exposition format 0.0.4. Pure; nothing here knows what is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: labels and value, an integer or a decimal text."""

    value: int | str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `help` is one sentence with the unit; one without samples is not shown."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


def seconds(duration_ms: int) -> str:
    """Milliseconds as seconds with three decimals, by integers."""
    return f"{duration_ms // 1000}.{duration_ms % 1000:03d}"


def render(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(sample.labels)} {sample.value}" for sample in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
