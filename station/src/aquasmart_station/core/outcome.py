"""What an answer means for sync: one pure function from answer to outcome (docs/protocol.md §2 and §6).

The rule that matters most: an answer whose signature does not verify may only make sync slower or smaller. It never
moves a mark, never holds, never teaches a clock offset. Every outcome that changes anything starts from `Signed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

UNSIGNED_RETRY_AFTER_LIMIT_S = 300.0
SIGNED_RETRY_AFTER_LIMIT_S = 3_600.0
RECHECK_S = 900.0
"""Holds and unverified answers are tried again this often: a released station starts by itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No whole answer: refused, reset, DNS, TLS, timeout. `reason` is for people."""

    reason: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """Signed 2xx: `data` is the answer's data."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """Again after a backoff, or after `after_s` where the other side said so. `smaller`: with half the rows."""

    reason: str
    after_s: float | None = None
    smaller: bool = False


@dataclass(frozen=True, slots=True)
class Skewed:
    """Signed 401 clock-skew: learn the offset from `server_time_ms`, sign again at once, once."""

    server_time_ms: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """Signed 409 sequence-gap: the cloud expects `expected_seq`; its counts there are `counts_through`."""

    expected_seq: int
    counts_through: int


@dataclass(frozen=True, slots=True)
class HeaderWanted:
    """Signed 409 stream-unknown: send the stream's header whole."""


@dataclass(frozen=True, slots=True)
class PlainWanted:
    """Signed 415 unsupported-encoding: send uncompressed."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """An unsigned refusal: a wrong key, a portal, a proxy. Shown, and tried again; nothing else."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A signed answer says that repeating is useless for now. Everything is kept."""

    code: str
    detail: str


Outcome = Delivered | Retry | Skewed | Rewind | HeaderWanted | PlainWanted | Unverified | Hold

_WANTED: dict[str, Outcome] = {"stream-unknown": HeaderWanted(), "unsupported-encoding": PlainWanted()}
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_UNVERIFIED = frozenset({401, 403, 404, 410, 426})


def outcome_of(answer: Answer | NoAnswer, *, signed: bool, trace_id: str, now_wall_s: float) -> Outcome:
    """Classify one answer to a telemetry request.

    `signed` says that the answer's signature verified against the request's own; `trace_id` is the one that was sent.
    `now_wall_s` is needed only for a Retry-After that is a date.
    """
    if isinstance(answer, NoAnswer):
        return Retry(answer.reason, smaller=answer.timed_out)
    if not signed:
        return _unsigned(answer, now_wall_s)
    document = _json_object(answer.body)
    if 200 <= answer.status < 300:
        data, meta = document.get("data"), document.get("meta")
        if not isinstance(data, dict) or not isinstance(meta, dict) or meta.get("trace_id") != trace_id:
            return Retry("the cloud's answer has no data, or another trace id")
        return Delivered(data)
    return _signed_problem(answer, document, now_wall_s)


def _unsigned(answer: Answer, now_wall_s: float) -> Outcome:
    if answer.status == 413:
        return Retry("something on the way says 413 (too large)", smaller=True)
    if answer.status in _UNVERIFIED:
        return Unverified(answer.status, f"cloud or a portal says {answer.status}; its answer is not signed")
    if 200 <= answer.status < 400:
        # 2xx and redirects of a captive portal: nobody who knows the key has said anything.
        return Unverified(answer.status, f"an unsigned {answer.status}: a captive portal or a wrong address answers")
    after_s = _retry_after(answer, now_wall_s)
    if after_s is not None:
        after_s = min(after_s, UNSIGNED_RETRY_AFTER_LIMIT_S)
    return Retry(f"an unsigned {answer.status}", after_s)


def _signed_problem(answer: Answer, document: Mapping[str, Any], now_wall_s: float) -> Outcome:
    code = str(document.get("code", ""))
    detail = str(document.get("detail", "") or document.get("title", ""))
    if answer.status in _TRANSIENT:
        after_s = _retry_after(answer, now_wall_s)
        if after_s is not None:
            after_s = min(after_s, SIGNED_RETRY_AFTER_LIMIT_S)
        return Retry(f"the cloud says {answer.status} {code}", after_s)
    if answer.status == 413:
        return Retry("the cloud says 413 (too large)", smaller=True)
    if code == "clock-skew":
        server_time = document.get("server_time")
        return Skewed(server_time) if _is_int(server_time) else Retry("clock-skew without a server_time")
    if code == "sequence-gap":
        expected, through = document.get("expected_seq"), document.get("counts_through")
        if _is_int(expected) and _is_int(through) and expected >= 1 and through >= 0:
            return Rewind(expected, through)
        return Retry("sequence-gap without expected_seq and counts_through")
    if code in _WANTED:
        return _WANTED[code]
    if answer.status >= 500:
        return Retry(f"the cloud says {answer.status} {code}")
    return Hold(code or str(answer.status), detail)


def _retry_after(answer: Answer, now_wall_s: float) -> float | None:
    """Retry-After in seconds or as an HTTP-date (RFC 9110 §10.2.3); None where absent or unreadable."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_wall_s)
    except (ValueError, TypeError, OverflowError):
        return None


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
