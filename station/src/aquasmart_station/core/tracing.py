"""W3C trace context (https://www.w3.org/TR/trace-context/): one trace per batch or operation, a span per request. Pure.

The trace id is the one that stands in the body's `meta`; a request's span id is the beginning of its signature, which
is fresh at every attempt and known to both sides without another random number.
"""

from __future__ import annotations

from dataclasses import dataclass

from .signing import SCHEME


def span_id(signature: str) -> str:
    """16 hex digits for the request that bears `signature`."""
    return signature.removeprefix(SCHEME)[:16]


def traceparent(trace_id: str, signature: str) -> str:
    """The header's value: version 00, sampled. `trace_id` is 32 lower-case hex digits, not all of them zero."""
    return f"00-{trace_id}-{span_id(signature)}-01"


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """One request as a span: times are wall clock, ns. Neither body nor signature stands in it."""

    trace_id: str
    span_id: str
    method: str
    target: str
    began_ns: int
    ended_ns: int
    answered: bool
    outcome: str
