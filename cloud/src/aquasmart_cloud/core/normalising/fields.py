"""Which value of an object is which field: the client's own mapping first, then the aliases, then a nested payload.

Pure. Values are found, not read: a field whose value is null or blank counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .rules import ALIASES, NESTED, Rules

_MAX_NESTED = 4
_BY_ALIAS = {alias.casefold(): (ours, rank) for ours, names in ALIASES.items() for rank, alias in enumerate(names)}


class Found(NamedTuple):
    """A value and where it stood, as a JSON path below the event."""

    where: str
    value: Any


class Gathered(NamedTuple):
    """The fields of one event, and what is to be said about the rest."""

    fields: dict[str, Found]
    warnings: list[str]


def gather(event: Mapping[str, Any], rules: Rules) -> Gathered:
    """Sort an event's values to our fields."""
    fields: dict[str, Found] = {}
    used: set[str] = set()
    for theirs, ours in rules.fields.items():
        found = _by_path(event, theirs)
        if found is not None and not _blank(found.value):
            used.add(found.where)
            fields.setdefault(ours, found)
    offers: dict[str, list[tuple[int, int, Found]]] = {}
    warnings: list[str] = []
    mapped_through = {where.partition(".")[0] for where in used if "." in where}
    for depth, name, found in _named(event):
        if found.where in used:
            continue
        ours, rank = _BY_ALIAS.get(name.strip().casefold(), ("", 0))
        if ours and not _blank(found.value):
            offers.setdefault(ours, []).append((rank, depth, found))
        elif not ours and found.where.partition(".")[0] not in mapped_through:
            warnings.append(f"unknown field {_shown(found.where)} is ignored")
    for ours, candidates in offers.items():
        ordered = [found for _, _, found in sorted(candidates, key=lambda each: each[:2])]
        chosen = fields.setdefault(ours, ordered[0])
        warnings += [
            f"{_shown(each.where)} is ignored: {ours} is taken from {_shown(chosen.where)}"
            for each in ordered
            if each is not chosen
        ]
    for ours, value in rules.defaults.items():
        fields.setdefault(ours, Found(ours, value))
    return Gathered(fields, warnings)


def _named(event: Mapping[str, Any]) -> Iterator[tuple[int, str, Found]]:
    """Every named value with its depth, the payload's too; the object that holds the payload is none itself."""
    level, prefix = event, ""
    for depth in range(_MAX_NESTED):
        inner: Mapping[str, Any] | None = None
        for name, value in level.items():
            if name == NESTED and isinstance(value, dict) and depth + 1 < _MAX_NESTED:
                inner = value
            else:
                yield depth, name, Found(prefix + name, value)
        if inner is None:
            return
        level, prefix = inner, f"{prefix}{NESTED}."


def _by_path(event: Mapping[str, Any], path: str) -> Found | None:
    """The value under a client's own name: the name itself where it is there, else the path it spells."""
    if path in event:
        return Found(path, event[path])
    value: Any = event
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return Found(path, value)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")
