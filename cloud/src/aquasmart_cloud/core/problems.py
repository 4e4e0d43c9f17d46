"""Everything the cloud may refuse, as one table, and the refusal itself (docs/protocol.md §6, RFC 9457).

Codes, statuses and titles live here; writing HTTP answers does not. A new problem type is one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

TYPE_PREFIX = "urn:aquasmart:problem:"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of the table."""

    code: str
    status: int
    title: str


PROBLEMS: Mapping[str, ProblemType] = MappingProxyType(
    {
        row.code: row
        for row in (
            ProblemType("malformed", 400, "The body is not what it says it is"),
            ProblemType("bad-signature", 401, "The request is not signed by a known station"),
            ProblemType("clock-skew", 401, "The request's timestamp is outside the window"),
            ProblemType("unauthorised", 401, "Sign in first"),
            ProblemType("revoked", 403, "This key has been revoked"),
            ProblemType("forbidden", 403, "This is not allowed"),
            ProblemType("change-refused", 403, "This change is not allowed"),
            ProblemType("not-found", 404, "There is nothing here"),
            ProblemType("method-not-allowed", 405, "This method is not for this address"),
            ProblemType("sequence-gap", 409, "Rows are missing before this batch"),
            ProblemType("stream-unknown", 409, "The stream's header has not been received"),
            ProblemType("already-closed", 409, "This has been dealt with already"),
            ProblemType("retired", 410, "This station has been retired"),
            ProblemType("operation-in-progress", 409, "The same operation is being worked on"),
            ProblemType("config-conflict", 412, "The configuration has changed meanwhile"),
            ProblemType("too-large", 413, "The request is too large"),
            ProblemType("unsupported-encoding", 415, "The content encoding is not supported"),
            ProblemType("no-range", 416, "There is no such part"),
            ProblemType("invalid", 422, "The body breaks the protocol"),
            ProblemType("upgrade-required", 426, "The station's software is too old"),
            ProblemType("idempotency-key-reused", 422, "This idempotency key stands for another request"),
            ProblemType("rate-limited", 429, "Too many requests; wait first"),
            ProblemType("http", 400, "The request could not be understood"),
            ProblemType("internal", 500, "Something went wrong here"),
            ProblemType("unavailable", 503, "The cloud cannot store anything now"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (a JSON path) and what."""

    where: str
    what: str

    def document(self) -> dict[str, str]:
        return {"where": self.where, "what": self.what}


class Refusal(Exception):
    """A request is answered with a problem document. Raised before anything is stored.

    `members` are extension members such as `expected_seq`; `retry_after_s` becomes a header.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        members: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = PROBLEMS[code]
        self.detail = detail
        self.faults = tuple(faults)
        self.members = dict(members or {})
        self.retry_after_s = retry_after_s
        self.status = self.type.status if status is None else status

    def document(self, trace_id: str, server_time_ms: int) -> dict[str, Any]:
        """The problem document (RFC 9457) with our members; times in Unix milliseconds."""
        return {
            "type": TYPE_PREFIX + self.type.code,
            "title": self.type.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.type.code,
            "trace_id": trace_id,
            "server_time": server_time_ms,
            "errors": [fault.document() for fault in self.faults],
            **self.members,
        }
