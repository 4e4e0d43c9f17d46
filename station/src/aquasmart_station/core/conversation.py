"""One signed request and the check of its answer. Pure: key, clock values and random ids are parameters.

The cloud's clock is followed here: signing uses the station's monotonic clock plus what the last verified answer
taught, so that neither a clock at 1970 nor an NTP step costs a request (docs/protocol.md §6, clock-skew; §8).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .outcome import Answer, NoAnswer
from .signing import Signable, reply_string, sign, verified


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks. `key` is 32 bytes and never shown."""

    station_id: str
    key_id: str
    software: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    target: str
    headers: dict[str, str]
    body: bytes
    signature: str


@dataclass(slots=True)
class CloudClock:
    """The cloud's time as this station knows it: an offset from CLOCK_BOOTTIME, None until it was learned."""

    offset_ms: int | None = None

    def now_ms(self, *, mono_ms: int, wall_ms: int) -> int:
        """Milliseconds to sign with: the learned time, or the wall clock while nothing was learned."""
        return wall_ms if self.offset_ms is None else mono_ms + self.offset_ms

    def told_ms(self, *, mono_ms: int) -> int | None:
        """The cloud's time; None while no verified answer has said it: no clock of the station stands in for it."""
        return None if self.offset_ms is None else mono_ms + self.offset_ms

    def learn(self, cloud_ms: int, *, mono_ms: int) -> None:
        """Only from an answer whose signature verified."""
        self.offset_ms = cloud_ms - mono_ms


def signed_request(
    identity: Identity,
    target: str,
    body: bytes,
    timestamp_ms: int,
    *,
    encoding: str | None = None,
    method: str = "POST",
    idempotency_key: str | None = None,
    if_match: str | None = None,
) -> SignedRequest:
    """A request ready to send. Every retry is signed afresh."""
    signable = Signable(method, target, identity.station_id, body, encoding, idempotency_key, if_match)
    signature = sign(identity.key, signable.string(timestamp_ms))
    headers = {
        "X-Station-Id": identity.station_id,
        "X-Key-Id": identity.key_id,
        "X-Timestamp": str(timestamp_ms),
        "X-Signature": signature,
        "X-Software-Version": identity.software,
    }
    optional = {"Content-Encoding": encoding, "Idempotency-Key": idempotency_key, "If-Match": if_match}
    headers |= {name: value for name, value in optional.items() if value}
    return SignedRequest(target, headers, body, signature)


def is_signed(identity: Identity, request: SignedRequest, answer: Answer | NoAnswer) -> bool:
    """Whether `answer` was signed with our key for this very request."""
    if isinstance(answer, NoAnswer):
        return False
    timestamp, signature = answer.headers.get("x-timestamp", ""), answer.headers.get("x-signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 19):
        return False
    message = reply_string(timestamp, answer.status, request.signature, answer.body)
    return verified(identity.key, message, signature)


def answered_at_ms(answer: Answer) -> int:
    """The cloud's time of a *verified* answer."""
    return int(answer.headers["x-timestamp"])
