"""Operations as stations send them (docs/protocol.md §7): the table of types, and bytes to a checked operation.

Pure. Which parameters stand in the path and which a type needs is one row each; what an operation does is elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from .model import LIMIT, MAX_TEXT
from .problems import Fault, Refusal
from .rollouts import RESULTS
from .strict_json import invalid, parse
from .wire import WireOperation

KEPT_MS = 90 * 86_400_000
"""How long an idempotency key is remembered, with its body's fingerprint and its first answer."""
MAX_BUNDLE_DEPTH = 14

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|\+00:00)")
_OPERATION = msgspec.json.Decoder(WireOperation)

Check = Callable[[Any], bool]


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LIMIT


def _key(value: Any) -> bool:
    return isinstance(value, list) and 2 <= len(value) <= 3 and all(_text(part) and part for part in value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


@dataclass(frozen=True, slots=True)
class OperationType:
    """One row: what a payload must hold, and which of it stands in the path, in order."""

    name: str
    needs: Mapping[str, Check]
    in_path: tuple[str, ...] = ()
    numbers_in_path: frozenset[str] = frozenset()
    if_match: bool = False


TYPES: Mapping[str, OperationType] = MappingProxyType(
    {
        row.name: row
        for row in (
            OperationType(
                "config_applied",
                {
                    "version": _whole,
                    "sha256": _matches(_HEX_64),
                    "result": _one_of("applied", "refused", "rolled-back"),
                    "reasons": _texts,
                },
            ),
            OperationType("local_change", {"key": _key, "change_token": _matches(_UUID)}, if_match=True),
            OperationType("service_visit", {"technician": _text, "note": _text, "visited_at": _matches(_TIME)}),
            OperationType(
                "meter_change",
                {"meter_id": _matches(_ID), "change_token": _text, "changed_at": _matches(_TIME)},
                ("meter_id",),
            ),
            OperationType(
                "notice_received",
                {"number": _whole, "received_at": _matches(_TIME)},
                ("number",),
                frozenset({"number"}),
            ),
            OperationType("diagnostics_bundle", {"document": lambda value: isinstance(value, dict)}),
            OperationType(
                "key_confirm",
                {"key_id": _matches(_ID), "base_key_id": _matches(_ID), "nonce": _matches(_HEX_64)},
                ("key_id",),
            ),
            OperationType(
                "resend_event",
                {"stream": _matches(_UUID), "seq": _whole, "kind": _text},
                ("stream", "seq"),
                frozenset({"seq"}),
            ),
            OperationType(
                "update_result",
                {
                    "rollout_id": _whole,
                    "state": _one_of(*RESULTS),
                    "version": _text,
                    "number": _whole,
                    "detail": _text,
                    "at_ms": _whole,
                },
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A checked operation. `payload` has the path's parameters back in it."""

    kind: OperationType
    trace_id: str
    timestamp: str
    txn_token: str | None
    payload: Mapping[str, Any]


def decode_operation(name: str, subject: list[str], body: bytes) -> Operation:
    """An operation from its path and its unpacked body.

    Errors: Refusal `not-found` for an unknown type or path, `malformed`, `invalid` with every fault.
    """
    kind = TYPES.get(name)
    if kind is None or len(subject) != len(kind.in_path):
        raise Refusal("not-found", f"there is no operation {'/'.join([name, *subject])}")
    try:
        wire = _OPERATION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        parse(body)
        what, _, where = str(error).partition(" - at ")
        raise invalid(where.strip("`") or "$", what) from error
    document = parse(body)
    payload = dict(document["payload"])
    faults = _faults(kind, subject, payload)
    if faults:
        raise Refusal("invalid", "; ".join(f"{each.where}: {each.what}" for each in faults), faults=faults)
    return Operation(kind, wire.meta.trace_id, wire.meta.timestamp, wire.meta.txn_token, payload)


def _faults(kind: OperationType, subject: list[str], payload: dict[str, Any]) -> list[Fault]:
    """What is wrong, after the path's parameters have been put into `payload`."""
    faults: list[Fault] = []
    for name, text in zip(kind.in_path, subject, strict=True):
        if name in payload:
            faults.append(Fault(f"$.payload.{name}", "stands in the path; it must not stand in the body too"))
        number = name in kind.numbers_in_path and re.fullmatch(r"0|[1-9][0-9]{0,18}", text)
        payload[name] = int(text) if number else text
    for name, fits in kind.needs.items():
        if name not in payload:
            faults.append(Fault(f"$.payload.{name}", "missing"))
        elif not fits(payload[name]):
            faults.append(Fault(f"$.payload.{name}", f"not allowed: {_short(payload[name])}"))
    return faults


def fingerprint(target: str, if_match: str | None, body: bytes) -> str:
    """What must be the same whenever an idempotency key comes again: SHA-256 over target, version and plain body."""
    return hashlib.sha256(f"{target}\n{if_match or '-'}\n".encode() + body).hexdigest()


def is_key(text: str | None) -> bool:
    """Whether a header is an idempotency key: a UUID in its canonical form."""
    return text is not None and _UUID.fullmatch(text) is not None


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[: MAX_TEXT // 2]
