"""What the station tells the cloud besides telemetry: one table of operation types, and their way onto the wire.

Pure: ids and times are parameters. Inside the station a time is `…_at_ms`, Unix milliseconds; on the wire it is
`…_at`, RFC 3339 (docs/protocol.md §7). Parameters that stand in the path are taken out of the body. A type or a
parameter that is missing is refused here, before any request. A new operation type is one row of `TYPES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from .backoff import Backoff
from .encoding import compact
from .errors import BadOperation
from .phrases import Phrase

OPERATIONS = "/v1/operations/"
ATTEMPTS = 5
"""Verified answers that say "not now" before an operation is failed and waits for a person."""

_PLACE = re.compile(r"\{(\w+)\}")
_TIME_SUFFIX = "_at_ms"


@dataclass(frozen=True, slots=True)
class Profile:
    """How patiently a type is retried."""

    backoff: Backoff
    attempts: int = ATTEMPTS


FAST = Profile(Backoff())
SLOW = Profile(Backoff(base_s=5, cap_s=300))
"""For what is large and in no hurry."""


@dataclass(frozen=True, slots=True)
class OperationType:
    """One row of the table."""

    name: str
    required: tuple[str, ...]
    """Parameters by their names inside the station; others may come along."""
    path: str = ""
    """Below `/v1/operations/{name}`; `{parameter}` is taken out of the body."""
    if_match: bool = False
    """Whether the configuration's version must be stated."""
    profile: Profile = FAST
    method: str = "POST"

    @property
    def in_path(self) -> tuple[str, ...]:
        """The parameters that stand in the path."""
        return tuple(_PLACE.findall(self.path))


TYPES: Mapping[str, OperationType] = MappingProxyType(
    {
        row.name: row
        for row in (
            OperationType("config_applied", ("version", "sha256", "result", "reasons")),
            OperationType("local_change", ("key", "value", "former", "change_token"), if_match=True),
            OperationType("service_visit", ("technician", "note", "visited_at_ms")),
            OperationType("meter_change", ("meter_id", "change_token", "changed_at_ms"), "/{meter_id}"),
            OperationType("notice_received", ("number", "received_at_ms"), "/{number}"),
            OperationType("diagnostics_bundle", ("document",), profile=SLOW),
            OperationType("key_confirm", ("key_id", "base_key_id", "nonce"), "/{key_id}"),
            OperationType("resend_event", ("stream", "seq", "kind"), "/{stream}/{seq}"),
            OperationType("update_result", ("rollout_id", "state", "version", "number", "detail", "at_ms")),
        )
    }
)


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What goes to the cloud, but for signature and time of signing."""

    method: str
    target: str
    body: bytes


def type_of(name: str) -> OperationType:
    """The row of the table. Raises BadOperation for an unknown type."""
    if name not in TYPES:
        raise BadOperation(
            Phrase("{name!r} is no type of operation", name=name),
            hint=Phrase("There are: {types}.", types=", ".join(sorted(TYPES))),
        )
    return TYPES[name]


def checked(name: str, parameters: Mapping[str, Any]) -> OperationType:
    """The type, where every parameter that it needs is there. Raises BadOperation, naming all that are missing."""
    kind = type_of(name)
    missing = [each for each in kind.required if parameters.get(each) is None and each not in _MAY_BE_NULL]
    missing += [each for each in _MAY_BE_NULL if each in kind.required and each not in parameters]
    if missing:
        raise BadOperation(
            Phrase("{name} lacks {missing}", name=name, missing=", ".join(missing)),
            hint=Phrase("Nothing was queued or sent."),
        )
    return kind


_MAY_BE_NULL = frozenset({"former", "value"})
"""A setting that was not set before has no former value."""


def encode_operation(
    name: str,
    parameters: Mapping[str, Any],
    *,
    trace_id: str,
    created_at_ms: int,
    txn_token: str | None,
) -> OperationRequest:
    """The request of an operation: the same bytes at each retry. Raises BadOperation."""
    kind = checked(name, parameters)
    wire = to_wire(parameters)
    path = _PLACE.sub(lambda place: quote(str(wire.pop(place[1])), safe=""), kind.path)
    meta = {"trace_id": trace_id, "timestamp": rfc3339(created_at_ms)}
    if txn_token is not None:
        meta["txn_token"] = txn_token
    return OperationRequest(kind.method, f"{OPERATIONS}{name}{path}", compact({"meta": meta, "payload": wire}).encode())


def parameters_of(text: str) -> dict[str, Any]:
    """Parameters as they were kept. Raises BadOperation where that is no JSON object any more."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BadOperation(Phrase("the operation's parameters are damaged"), hint=Phrase("Enter it anew.")) from fault
    if not isinstance(found, dict):
        raise BadOperation(Phrase("the operation's parameters are damaged"), hint=Phrase("Enter it anew."))
    return found


def to_wire(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Names and times as the wire has them: `visited_at_ms` becomes `visited_at`. Raises BadOperation."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        if not name.endswith(_TIME_SUFFIX):
            found[name] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            found[name.removesuffix("_ms")] = rfc3339(value)
        else:
            raise BadOperation(Phrase("{name} is a time in milliseconds, not {value!r}", name=name, value=value))
    return found


def from_wire(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse, for what the cloud answers. A time that cannot be read stays as it is."""
    found: dict[str, Any] = {}
    for name, value in payload.items():
        at_ms = _at_ms(value) if name.endswith("_at") and isinstance(value, str) else None
        if at_ms is None:
            found[name] = value
        else:
            found[name + "_ms"] = at_ms
    return found


def rfc3339(at_ms: int) -> str:
    """Unix milliseconds as the wire has them: UTC with milliseconds. Raises BadOperation out of range."""
    try:
        # By parts: a float of seconds would not keep every millisecond.
        moment = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    except (ValueError, OverflowError, OSError) as fault:
        raise BadOperation(Phrase("{at_ms} ms is no time", at_ms=at_ms)) from fault
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _at_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
