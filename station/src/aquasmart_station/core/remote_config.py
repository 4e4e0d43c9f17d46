"""Settings that may change while the station runs: their schema and bounds, and which of several layers counts.

Pure. A document is nested as station.toml is; inside, a setting is named by its path. Every fault of a document is
found at once. What stands in no document is as station.toml says; a local change stands above the cloud's document
until the cloud has taken it in or refused it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .model import PRICE_LIMIT
from .phrases import Phrase

Path = tuple[str, ...]
Overlay = Mapping[Path, Any]
"""Settings by path: what differs from station.toml."""

EMPTY_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: no remote configuration."""

SCALE = "scale"
SCALE_LIMIT = 1 << 40
"""A scale's numbers stay below this, so that positions of any meter can be priced for decades."""

_METER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number's limits in thousandths. `trial`: a wrong value could end polling or the link."""

    least_milli: int
    most_milli: int
    whole: bool = False
    trial: bool = False


SETTINGS: Mapping[Path, Bounds] = MappingProxyType(
    {
        ("reader", "commit_interval_s"): Bounds(50, 60_000),
        ("reader", "idle_heartbeat_s"): Bounds(1_000, 86_400_000),
        ("reader", "poll_hz"): Bounds(10, 50_000, trial=True),
        ("detect", "threshold"): Bounds(1_500, 20_000),
        ("detect", "leak_after_s"): Bounds(1_000, 86_400_000),
        ("detect", "slow_leak_after_s"): Bounds(6_000, 604_800_000),
        ("detect", "stuck_after_s"): Bounds(1_000, 3_600_000),
        ("detect", "no_flow_after_s"): Bounds(0, 31_536_000_000),
        ("sync", "linger_s"): Bounds(0, 3_600_000),
        ("sync", "heartbeat_s"): Bounds(1_000, 86_400_000),
        ("sync", "batch_rows_max"): Bounds(1_000, 10_000_000, whole=True),
        ("cloud", "connect_timeout_s"): Bounds(100, 120_000, trial=True),
        ("cloud", "read_timeout_s"): Bounds(100, 600_000, trial=True),
    }
)


def canonical(document: Mapping[str, Any]) -> str:
    """The text whose SHA-256 names a document: sorted keys, no spaces, UTF-8. Raises ValueError for NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(document: Mapping[str, Any]) -> str:
    """The document's name, 64 hex digits. Raises ValueError for what is no JSON."""
    import hashlib  # here: it brings OpenSSL into memory, and the reader, which follows settings, hashes nothing

    return hashlib.sha256(canonical(document).encode()).hexdigest()


def faults_of(document: object, meters: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a document, in words; none where it may be applied.

    `meters`: the station's meters, each with the highest count that must be priceable."""
    if not isinstance(document, dict):
        return ["the document must be an object"]
    faults: list[str] = []
    for table, values in document.items():
        if not isinstance(values, dict):
            faults.append(Phrase("{table}: must be a table of settings", table=table))
        elif table == "meters":
            for meter_id, settings in values.items():
                faults += _meter_faults(meter_id, settings, meters)
        else:
            for name, value in values.items():
                faults += setting_faults((table, name), value, meters)
    return sorted(faults)


def setting_faults(path: Path, value: object, meters: Mapping[str, int]) -> list[str]:
    """What is wrong with one setting."""
    if len(path) == 3 and path[0] == "meters":
        return _meter_faults(path[1], {path[2]: value}, meters)
    bounds, name = SETTINGS.get(path), ".".join(path)
    if bounds is None:
        return [Phrase("{name}: is not a setting that can be changed from afar", name=name)]
    if isinstance(value, bool) or not isinstance(value, int | float) or (bounds.whole and not isinstance(value, int)):
        if bounds.whole:
            return [Phrase("{name}: must be a whole number, not {value!r}", name=name, value=value)]
        return [Phrase("{name}: must be a number, not {value!r}", name=name, value=value)]
    if not bounds.least_milli <= value * 1000 <= bounds.most_milli:
        least, most = _plain(bounds.least_milli), _plain(bounds.most_milli)
        values = {"name": name, "least": least, "most": most, "value": value}
        return [Phrase("{name}: must be from {least} to {most}, not {value!r}", **values)]
    return []


def _meter_faults(meter_id: str, settings: object, meters: Mapping[str, int]) -> list[str]:
    where = f"meters.{meter_id}"
    if not _METER_ID.fullmatch(meter_id) or meter_id not in meters:
        return [Phrase("{where}: this station has no such meter", where=where)]
    if not isinstance(settings, dict):
        return [Phrase("{table}: must be a table of settings", table=where)]
    faults: list[str] = [
        Phrase("{name}: is not a setting that can be changed from afar", name=f"{where}.{name}")
        for name in settings
        if name != SCALE
    ]
    if SCALE in settings and not _is_scale(settings[SCALE]):
        faults.append(
            Phrase(
                "{where}.scale: must be ul_num and den, whole numbers from 1 to {limit}",
                where=where,
                limit=SCALE_LIMIT - 1,
            )
        )
    elif SCALE in settings and settings[SCALE]["ul_num"] * meters[meter_id] >= PRICE_LIMIT:
        faults.append(
            Phrase("{where}.scale: ul_num is too large for this meter: its last count could not be priced", where=where)
        )
    return faults


def _is_scale(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"ul_num", "den"}:
        return False
    return all(type(each) is int and 1 <= each < SCALE_LIMIT for each in value.values())


def _plain(milli: int) -> str:
    whole, rest = divmod(milli, 1000)
    return f"{whole}.{rest:03}".rstrip("0") if rest else str(whole)


def flatten(document: Mapping[str, Any]) -> dict[Path, Any]:
    """Settings by path. The document has no faults."""
    found: dict[Path, Any] = {}
    for table, values in document.items():
        for name, value in values.items():
            if table == "meters":
                found |= {(table, name, setting): inner for setting, inner in value.items()}
            else:
                found[(table, name)] = value
    return found


def nested(settings: Mapping[Path, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    document: dict[str, Any] = {}
    for path, value in settings.items():
        inner = document
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return document


def on_trial(former: Overlay, wanted: Overlay) -> list[Path]:
    """The settings that a change could end polling or the link by."""
    return sorted(
        path
        for path in {*former, *wanted}
        if former.get(path) != wanted.get(path) and path in SETTINGS and SETTINGS[path].trial
    )


def layered(layers: Iterable[Overlay]) -> dict[Path, Any]:
    """One overlay of several, later ones above earlier ones."""
    found: dict[Path, Any] = {}
    for layer in layers:
        found |= layer
    return found


def wins(base: Overlay, current: Overlay, path: Path) -> bool:
    """Whether the cloud's document has moved the very setting that was changed here since `base`: then the cloud
    wins, else the local change is rebased onto `current` (docs/protocol.md §6, config-conflict)."""
    return base.get(path) != current.get(path)
