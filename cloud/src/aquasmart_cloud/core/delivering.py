"""When a delivery is tried again, and what its receiver checks: its signature, its times. Pure.

What is sent and stored is elsewhere. The signing string is `v1:{timestamp}:{delivery id}:` and then the body as sent,
under HMAC-SHA256 of the webhook's secret (docs/operator.md, "Webhooks").
"""

from __future__ import annotations

import hashlib
import hmac
from email.utils import parsedate_to_datetime
from typing import NamedTuple

BASE_MS = 5_000
CAP_MS = 3_600_000
LONGEST_WAIT_MS = 6 * 3_600_000
"""A receiver's Retry-After is obeyed up to this."""
DRAWS = 1_001
"""Waits are drawn from so many equally likely ones: `draw` is 0 … 1000."""


class Attempt(NamedTuple):
    """How one attempt ended. `wait_ms` is what the receiver asked for with Retry-After; `final`: nobody is there to be
    told any more, so it has failed for good."""

    delivered: bool
    status: int | None
    said: str
    wait_ms: int | None = None
    final: bool = False


def signature(secret: bytes, timestamp_ms: int, delivery_id: str, body: bytes) -> str:
    """The value of `X-AquaSmart-Signature`: signed anew at each attempt, since the timestamp is of the attempt."""
    string = f"v1:{timestamp_ms}:{delivery_id}:".encode() + body
    return "v1=" + hmac.new(secret, string, hashlib.sha256).hexdigest()


def wait_ms(attempts: int, draw: int, asked_ms: int | None = None) -> int:
    """How long to wait after the `attempts`-th failure: doubling from 5 s up to an hour, half of it drawn by chance.

    What the receiver asked for is the least, up to six hours. Errors: ValueError for attempts below 1.
    """
    if attempts < 1 or not 0 <= draw < DRAWS:
        raise ValueError("attempts count from 1, draws are 0 … 1000")
    doubled = BASE_MS << min(attempts - 1, 40)
    at_the_cap = CAP_MS * (1_000 + draw) // 2_000
    backoff = at_the_cap if doubled >= CAP_MS else min(CAP_MS, doubled * (500 + draw) // 1_000)
    return max(backoff, min(asked_ms or 0, LONGEST_WAIT_MS))


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """A Retry-After header, seconds or a date, as milliseconds from now; None where it says nothing readable."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * 1_000, LONGEST_WAIT_MS)
    try:
        at_ms = int(parsedate_to_datetime(text).timestamp()) * 1_000
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0, min(at_ms - now_ms, LONGEST_WAIT_MS))
