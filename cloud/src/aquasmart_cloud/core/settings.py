"""Remote configuration as documents: merged from fleet, group and station, named by their hash, guarded by a policy.

Pure. A document is nested as the station's own file is: `{table: {name: value}}`, for meters `{"meters": {id: {name:
value}}}`. Which settings exist and within which bounds is the station's to say, since it must refuse a bad one anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

EMPTY_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: no configuration."""

SCALE_LIMIT = 1 << 40
MAX_DOCUMENT_BYTES = 64 * 1024

Path = tuple[str, ...]


def canonical(document: Mapping[str, Any]) -> str:
    """The text whose SHA-256 names a document: sorted keys, no spaces, UTF-8. Raises ValueError for NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(document: Mapping[str, Any]) -> str:
    """The document's name: 64 hex digits."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def shape_faults(document: object) -> list[str]:
    """What keeps a document from being one at all; its settings are judged by the stations."""
    if not isinstance(document, dict):
        return ["the document must be an object of tables"]
    faults = [f"{table}: must be a table" for table, values in document.items() if not isinstance(values, dict)]
    meters = document.get("meters")
    if isinstance(meters, dict):
        faults += [f"meters.{name}: must be a table" for name, values in meters.items() if not isinstance(values, dict)]
    if not faults and len(canonical(document).encode()) > MAX_DOCUMENT_BYTES:
        faults.append(f"the document is above {MAX_DOCUMENT_BYTES} bytes")
    return faults


def flatten(document: Mapping[str, Any]) -> dict[Path, Any]:
    """Settings by path. The document has the right shape."""
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


def merged(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One document of several; later ones (fleet, then group, then station) win, setting by setting."""
    found: dict[Path, Any] = {}
    for document in documents:
        found |= flatten(document)
    return nested(found)


def path_of(dotted: str) -> Path:
    """`reader.poll_hz`, `meters.tap-1.scale`: a meter's id may hold dots. Raises ValueError."""
    table, _, rest = dotted.partition(".")
    if table == "meters":
        meter_id, _, name = rest.rpartition(".")
        parts: Path = (table, meter_id, name)
    else:
        parts = (table, rest)
    if not all(parts):
        raise ValueError(f"{dotted!r} is no setting: table.name, or meters.ID.name")
    return parts


def change_faults(policy: Mapping[str, Any], path: Sequence[str], value: Any, former: Any) -> list[str]:
    """Why an operator's policy refuses a technician's local change; none where it allows it.

    `refuse`: settings, or tables, that are not a technician's. `scale_change_ppm_max`: how far a calibration may move
    a meter's price from the former one, in millionths.
    """
    name = ".".join(path)
    refused = [each for each in policy.get("refuse", ()) if name == each or name.startswith(f"{each}.")]
    faults = [f"{name}: the operator keeps {each} to himself" for each in refused]
    if path[-1] != "scale":
        return faults
    new, old, limit = as_scale(value), as_scale(former), policy.get("scale_change_ppm_max")
    if new is None:
        return [*faults, f"{name}: must be ul_num and den, whole numbers from 1 to {SCALE_LIMIT - 1}"]
    if limit is not None and old is not None and abs(new - old) * 1_000_000 > old * limit:
        moved = abs(new - old) * 1_000_000 // old
        faults.append(f"{name}: moves the price by {moved} ppm; the policy allows {limit} ppm")
    return faults


def as_scale(value: Any) -> Fraction | None:
    """A scale as µl per count; None where it is none."""
    if not isinstance(value, dict) or set(value) != {"ul_num", "den"}:
        return None
    ul_num, den = value["ul_num"], value["den"]
    if not all(type(each) is int and 1 <= each < SCALE_LIMIT for each in (ul_num, den)):
        return None
    return Fraction(ul_num, den)


def policy_faults(policy: object) -> list[str]:
    """What is wrong with a policy."""
    if not isinstance(policy, dict):
        return ["a policy must be an object"]
    faults = [f"{name}: is not a rule" for name in policy if name not in {"refuse", "scale_change_ppm_max"}]
    refuse, limit = policy.get("refuse", []), policy.get("scale_change_ppm_max", 0)
    if not isinstance(refuse, list) or not all(isinstance(each, str) for each in refuse):
        faults.append("refuse: must be a list of settings or tables")
    if type(limit) is not int or limit < 0:
        faults.append("scale_change_ppm_max: must be a whole number of millionths")
    return faults
