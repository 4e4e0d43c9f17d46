"""What an answer means for sync: one pure function from answer to outcome (docs/protocol.md §2 and §6).

The rule that matters most: an answer whose signature does not verify may only make sync slower or smaller. It never
moves a mark, dead-letters, holds, rolls back, nor teaches a clock offset. `_unsigned` is the only way for such an
answer, and it returns nothing but `Retry` and `Unverified`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeGuard

from .phrases import Phrase

UNSIGNED_RETRY_AFTER_LIMIT_S = 300.0
SIGNED_RETRY_AFTER_LIMIT_S = 3_600.0
RECHECK_S = 900.0
"""Holds and unverified answers are tried again this often: a released station starts by itself."""
IN_PROGRESS_S = 2.0
"""When to ask again after an operation that the cloud is still working on."""

LaneName = Literal["telemetry", "operation"]


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
    broke_off: bool = False
    """A connection that stood was lost while the request was under way."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Signed 2xx: `data` is the answer's data."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """Transient: again after a backoff, or after `after_s` where the other side said so."""

    reason: str
    after_s: float | None = None
    smaller: bool = False
    """With half the rows."""
    timed_out: bool = False
    """Nothing came in time: the link may be too slow for so much, or dead."""
    broke_off: bool = False
    """The connection was lost under way: once is the weather, again and again it is the size."""
    verified: bool = False
    """The cloud itself said so. For operations only such answers count as attempts."""
    code: str = ""


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
class TooLarge:
    """Signed 413 too-large: telemetry halves its batch; a single row, or an operation, is as good as refused."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A signed permanent refusal. Telemetry bisects to the row; an operation has failed for good."""

    code: str
    detail: str
    wrong: tuple[str, ...] = ()
    """Where the cloud found the faults, as JSON paths: `$.stream.scale`."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Signed 409 or 412 config-conflict: reconcile with `document`, the problem with all its members."""

    document: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """Signed 403 revoked or 410 retired: the other key once, then hold. `code` and `detail` as in `Hold`."""

    code: str
    detail: str

    def hold(self) -> Hold:
        """What it comes to when the other key is refused as well, or there is none."""
        return Hold(self.code, self.detail)


@dataclass(frozen=True, slots=True)
class Unverified:
    """An unsigned refusal: a wrong key, a portal, a proxy. Shown, and tried again; nothing else."""

    status: int
    text: str
    other_key: bool = False
    """It may be the key: the other one is worth one try."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A signed answer says that repeating is useless for now. Everything is kept; asked again each `RECHECK_S`."""

    code: str
    detail: str


Outcome = (
    Delivered
    | Retry
    | Skewed
    | Rewind
    | HeaderWanted
    | PlainWanted
    | TooLarge
    | Refused
    | Conflict
    | KeyRefused
    | Unverified
    | Hold
)


def outcome_of(
    answer: Answer | NoAnswer,
    *,
    signed: bool,
    trace_id: str,
    now_wall_s: float,
    lane: LaneName = "telemetry",
) -> Outcome:
    """Classify one answer to a request of `lane`.

    `signed` says that the answer's signature verified against the request's own; `trace_id` is the one that was sent.
    `now_wall_s` is needed only for a Retry-After that is a date. Never raises, whatever the answer holds.
    """
    if isinstance(answer, NoAnswer):
        return Retry(answer.reason, timed_out=answer.timed_out, broke_off=answer.broke_off)
    if not signed:
        return _unsigned(answer, now_wall_s)
    document = _json_object(answer.body)
    if 200 <= answer.status < 300:
        data, meta = document.get("data"), document.get("meta")
        if not isinstance(data, dict) or not isinstance(meta, dict) or meta.get("trace_id") != trace_id:
            return Retry(Phrase("the cloud's answer has no data, or another trace id"), verified=True)
        return Delivered(data)
    return _signed(_Problem.read(answer, document, now_wall_s), lane)


_MAYBE_THE_KEY = frozenset({401, 403, 404, 410, 426})


def _unsigned(answer: Answer, now_wall_s: float) -> Retry | Unverified:
    if answer.status == 413:
        return Retry(Phrase("something on the way says 413 (too large)"), smaller=True)
    if answer.status in _MAYBE_THE_KEY:
        text = Phrase("cloud or a portal says {status}; its answer is not signed", status=answer.status)
        return Unverified(answer.status, text, other_key=True)
    if 200 <= answer.status < 400:
        # 2xx and redirects of a captive portal: nobody who knows the key has said anything.
        return Unverified(
            answer.status,
            Phrase("an unsigned {status}: a captive portal or a wrong address answers", status=answer.status),
        )
    after_s = _retry_after(answer, now_wall_s, UNSIGNED_RETRY_AFTER_LIMIT_S)
    return Retry(Phrase("an unsigned {status}", status=answer.status), after_s)


@dataclass(frozen=True, slots=True)
class _Problem:
    """A signed answer that is no 2xx, with what the table's rows look at."""

    status: int
    code: str
    detail: str
    document: Mapping[str, Any]
    after_s: float | None

    @classmethod
    def read(cls, answer: Answer, document: Mapping[str, Any], now_wall_s: float) -> _Problem:
        code = str(document.get("code", "")) or str(answer.status)
        detail = str(document.get("detail", "") or document.get("title", ""))
        return cls(answer.status, code, detail, document, _retry_after(answer, now_wall_s, SIGNED_RETRY_AFTER_LIMIT_S))

    def transient(self) -> Retry:
        """Again, when the cloud said or after a backoff."""
        return Retry(
            Phrase("the cloud says {status} {code}", status=self.status, code=self.code),
            self.after_s,
            verified=True,
            code=self.code,
        )

    def without(self, what: str) -> Retry:
        """A verdict without the figures it needs changes nothing."""
        return Retry(Phrase("{code} without {what}", code=self.code, what=what), verified=True, code=self.code)

    def refused(self) -> Refused:
        errors = self.document.get("errors")
        faults = errors if isinstance(errors, list) else []
        places = tuple(str(fault["where"]) for fault in faults if isinstance(fault, dict) and "where" in fault)
        return Refused(self.code, self.detail, places)

    def hold(self) -> Hold:
        return Hold(self.code, self.detail)


def _skewed(problem: _Problem) -> Outcome:
    server_time = problem.document.get("server_time")
    return Skewed(server_time) if _is_int(server_time) else problem.without(Phrase("a server_time"))


def _rewind(problem: _Problem) -> Outcome:
    expected, through = problem.document.get("expected_seq"), problem.document.get("counts_through")
    if _is_int(expected) and _is_int(through) and expected >= 1 and through >= 0:
        return Rewind(expected, through)
    return problem.without(Phrase("expected_seq and counts_through"))


def _in_progress(problem: _Problem) -> Outcome:
    return Retry(Phrase("the cloud is still working on it"), IN_PROGRESS_S, verified=True, code=problem.code)


def _key_refused(problem: _Problem) -> Outcome:
    return KeyRefused(problem.code, problem.detail)


_Verdict = Callable[[_Problem], Outcome]

_BOTH_LANES: Mapping[tuple[int, str], _Verdict] = {
    (401, "clock-skew"): _skewed,
    (403, "revoked"): _key_refused,
    (410, "retired"): _key_refused,
    (426, "upgrade-required"): _Problem.hold,
}
_BY_STATUS: Mapping[int, _Verdict] = {
    413: lambda problem: TooLarge(problem.detail),
    415: lambda _: PlainWanted(),
}
_BY_CODE: Mapping[LaneName, Mapping[tuple[int, str], _Verdict]] = {
    "telemetry": {
        **_BOTH_LANES,
        (400, "malformed"): _Problem.refused,
        (422, "invalid"): _Problem.refused,
        (409, "sequence-gap"): _rewind,
        (409, "stream-unknown"): lambda _: HeaderWanted(),
    },
    "operation": {
        **_BOTH_LANES,
        (409, "operation-in-progress"): _in_progress,
        (409, "config-conflict"): lambda problem: Conflict(problem.document),
        (412, "config-conflict"): lambda problem: Conflict(problem.document),
    },
}
"""The rows of docs/protocol.md §6 that a code singles out. A new problem type is one row here."""

_TRANSIENT = frozenset({408, 429})


def _signed(problem: _Problem, lane: LaneName) -> Outcome:
    verdict = _BY_CODE[lane].get((problem.status, problem.code)) or _BY_STATUS.get(problem.status)
    if verdict is not None:
        return verdict(problem)
    if problem.status in _TRANSIENT or not 400 <= problem.status < 500:
        return problem.transient()
    return _other_4xx(problem, lane)


def _other_4xx(problem: _Problem, lane: LaneName) -> Outcome:
    """A code we do not know: as good as the status it stands under, and 4xx as 400 (RFC 9110 §15).

    Telemetry holds: it never gives up, and an unknown word is no ground for a dead letter. An operation was refused,
    unless what is unknown is a conflict (it may pass) or about who asks.
    """
    if lane == "telemetry" or problem.status in {401, 410, 426}:
        return problem.hold()
    if problem.status == 409:
        return problem.transient()
    return problem.refused()


def _retry_after(answer: Answer, now_wall_s: float, limit_s: float) -> float | None:
    """Retry-After in seconds or as an HTTP-date (RFC 9110 §10.2.3), at most `limit_s`; None where absent or unreadable.

    A clock that has not been set makes any date far away: the limit holds for that too.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), limit_s)
    try:
        moment = parsedate_to_datetime(text)
        # An HTTP-date is GMT, whatever it says of a zone and wherever we are.
        return min(max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now_wall_s), limit_s)
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
