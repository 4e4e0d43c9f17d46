"""What is so at a station, from what it last said and what its events tell: findings for `core.alerting`. Pure.

Two sources. The last heartbeat says how the station is now (meters, clock, dead letters). Its events say what its
detectors found: a `diagnostic` or `degraded` row holds the whole set of conditions, so only the last of each counts,
in the order of receipt, which no clock of the station's can upset. A `boot` begins both anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from .alert_kinds import (
    ANOMALY,
    BALANCE,
    BOOKS,
    CLOCK,
    DEAD_LETTERS,
    DISK,
    DISK_CONDITIONS,
    LEAK,
    METER_CONDITIONS,
    METER_FAULT,
    METER_STATES,
    OFFLINE,
)
from .alerting import Finding, Key, Threshold, Track

TELLING = ("anomaly", "boot", "degraded", "diagnostic")
"""The kinds of events that say something of this; the others are not read."""
STALE_MS = 86_400_000
"""An anomaly that arrives later than this after it happened opens no alert: the notable events list it."""

_CONDITION_METRICS = frozenset({"stuck", "leak", "no-flow", "identity"})
"""Anomalies that a condition or a meter's state says better, since those also end."""
_FIGURES = ("value", "mean", "sd", "z", "threshold", "pattern", "volume_ul", "for_ms")
_MOST_FIGURES_BYTES = 2_000


class Row(NamedTuple):
    """One notable event, in order of receipt."""

    at: int
    kind: str
    meter_id: str | None
    data: str | None


class Entry(NamedTuple):
    """The open differences of one name: how many, how much, since when."""

    kind: str
    number: int
    volume_ul: int
    opened_at: int


class Station(NamedTuple):
    """One station as it is now."""

    state: str
    last_seen_ms: int | None
    heartbeat: Mapping[str, Any]
    entries: Sequence[Entry]


class Memory(NamedTuple):
    """What its events have said so far: each condition with the time since when; since when it is heard regularly."""

    conditions: dict[str, int] = {}  # noqa: RUF012  (never changed, replaced)
    reasons: dict[str, int] = {}  # noqa: RUF012
    leaks: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    seen_ms: int | None = None
    heard_from_ms: int | None = None


def learn(memory: Memory, rows: Iterable[Row], now_ms: int) -> tuple[Memory, list[Finding]]:
    """The memory after these events, and the anomalies among them that are news."""
    conditions, reasons, leaks = memory.conditions, memory.reasons, dict(memory.leaks)
    found = []
    for row in rows:
        data = _object(row.data)
        if row.kind == "boot":
            conditions, reasons = {}, {}
        elif row.kind == "diagnostic" and isinstance(data.get("conditions"), list):
            conditions = _renewed(conditions, data["conditions"], min(row.at, now_ms))
        elif row.kind == "degraded" and isinstance(data.get("reasons"), list):
            reasons = _renewed(reasons, data["reasons"], min(row.at, now_ms))
        elif row.kind == "anomaly":
            metric = data.get("metric")
            if metric == "leak" and row.meter_id is not None:
                leaks[row.meter_id] = _figures(data)
            elif isinstance(metric, str) and metric not in _CONDITION_METRICS and now_ms - row.at < STALE_MS:
                subject = metric if row.meter_id is None else f"{row.meter_id}:{metric}"
                found.append(Finding(ANOMALY, subject[:200], row.at, _figures(data), instant=True))
    return memory._replace(conditions=conditions, reasons=reasons, leaks=leaks), found


def hear(memory: Memory, last_seen_ms: int | None, offline_after_ms: int) -> Memory:
    """Note that it was heard: regularly since `heard_from_ms`, anew after a silence that counts as offline."""
    if last_seen_ms is None or last_seen_ms == memory.seen_ms:
        return memory
    silent = memory.seen_ms is None or last_seen_ms - memory.seen_ms >= offline_after_ms
    heard_from_ms = last_seen_ms if silent else memory.heard_from_ms
    return memory._replace(seen_ms=last_seen_ms, heard_from_ms=heard_from_ms)


def findings(
    station: Station,
    memory: Memory,
    tracks: Mapping[Key, Track],
    thresholds: Mapping[str, Threshold],
    now_ms: int,
) -> tuple[list[Finding], int | None]:
    """Everything that is so, and when the station will count as offline if it stays silent."""
    if station.state == "retired":
        return [], None
    found, due_ms = _silence(station, memory, tracks, thresholds[OFFLINE], now_ms)
    found += _meters(station.heartbeat)
    found += _conditions(memory)
    if station.heartbeat.get("clock") == "unset":
        found.append(Finding(CLOCK, "", None, {}))
    dead = station.heartbeat.get("dead_letters")
    if isinstance(dead, int) and dead > 0:
        found.append(Finding(DEAD_LETTERS, "", None, {"number": dead}))
    found += [
        Finding(BOOKS, each.kind, each.opened_at, {"number": each.number, "volume_ul": each.volume_ul})
        for each in station.entries
        if each.kind in BALANCE
    ]
    return found, due_ms


def _silence(
    station: Station, memory: Memory, tracks: Mapping[Key, Track], threshold: Threshold, now_ms: int
) -> tuple[list[Finding], int | None]:
    """Offline while silent for long enough; what has come back holds the alert up until it is heard regularly."""
    seen_ms = station.last_seen_ms
    if seen_ms is None:
        return [], None  # never seen: it may still lie in its box
    figures = {"last_seen_at": seen_ms}
    if now_ms - seen_ms >= threshold.after_ms:
        return [Finding(OFFLINE, "", seen_ms, figures)], None
    due_ms = seen_ms + threshold.after_ms
    told = tracks.get((OFFLINE, ""))
    steady = memory.heard_from_ms is not None and seen_ms - memory.heard_from_ms >= threshold.clear_ms // 2
    if told is not None and told.told and told.gone_ms is None and not steady:
        return [Finding(OFFLINE, "", None, figures, fading=True)], due_ms
    return [], due_ms


def _meters(heartbeat: Mapping[str, Any]) -> list[Finding]:
    listed = heartbeat.get("meters")
    found = []
    for meter in listed if isinstance(listed, list) else []:
        if not isinstance(meter, dict):
            continue
        meter_id, state = meter.get("meter_id"), meter.get("state")
        if isinstance(meter_id, str) and state in METER_STATES:
            found.append(Finding(METER_FAULT, meter_id[:200], None, {"what": state}))
    return found


def _conditions(memory: Memory) -> list[Finding]:
    """From both sets of conditions; `sensor-stuck:tap-1` is one of a meter."""
    found = []
    for name, since_ms in sorted((memory.conditions | memory.reasons).items()):
        word, _, meter_id = name.partition(":")
        if word == "leak":
            found.append(Finding(LEAK, meter_id, since_ms, memory.leaks.get(meter_id, {})))
        elif word in METER_CONDITIONS:
            found.append(Finding(METER_FAULT, f"{meter_id}:{word}", since_ms, {"what": word}))
        elif word in DISK_CONDITIONS:
            found.append(Finding(DISK, word, since_ms, {}))
    return found


def _renewed(former: Mapping[str, int], names: list[Any], at: int) -> dict[str, int]:
    """The set that now holds; what held before keeps its time."""
    return {name[:200]: former.get(name[:200], at) for name in names if isinstance(name, str)}


def _figures(data: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a row that fit into an alert: numbers and short words."""
    kept = {name: data[name] for name in _FIGURES if isinstance(data.get(name), int | float | str)}
    return kept if len(msgspec.json.encode(kept)) <= _MOST_FIGURES_BYTES else {}


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
