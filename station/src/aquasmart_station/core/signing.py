"""Signatures of requests and answers: HMAC-SHA256 over a signing string and the raw body (docs/protocol.md §1–2).

Pure: keys and timestamps are parameters. Signatures are compared in one place, `verified`, in constant time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

SCHEME = "v1="


@dataclass(frozen=True, slots=True)
class Signable:
    """What of a request is signed. Absent headers are signed as `-`."""

    method: str
    target: str
    """The request target as sent: path and query."""
    station_id: str
    body: bytes = b""
    encoding: str | None = None
    idempotency_key: str | None = None
    if_match: str | None = None

    def string(self, timestamp_ms: int) -> bytes:
        """The signing string of docs/protocol.md §1: a line of fields, then the body exactly as sent."""
        fields = (
            "v1",
            str(timestamp_ms),
            self.method,
            self.target,
            self.station_id,
            self.encoding or "-",
            self.idempotency_key or "-",
            self.if_match or "-",
            "",
        )
        return ":".join(fields).encode() + self.body


def reply_string(timestamp: str, status: int, request_signature: str, body: bytes) -> bytes:
    """What the cloud signs: bound to the very request by its signature, so that no answer can be swapped in."""
    return f"v1-reply:{timestamp}:{status}:{request_signature}:".encode() + body


def sign(key: bytes, message: bytes) -> str:
    """`v1=` and 64 lower-case hex digits of HMAC-SHA256(key, message)."""
    return SCHEME + hmac.digest(key, message, "sha256").hex()


def verified(key: bytes, message: bytes, signature: str) -> bool:
    """Whether `signature` is the one of `message` under `key`. The only comparison of signatures on the station."""
    return same(sign(key, message), signature)


def same(expected: str, given: str) -> bool:
    """Whether two secrets are alike, in a time that does not tell where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode())


def derived_key(old_key: bytes, cloud_nonce: str, station_nonce: str) -> bytes:
    """The key that follows `old_key` in a rotation (docs/protocol.md §7): no key travels, only the two nonces do."""
    return hmac.digest(old_key, f"v1-rotate:{cloud_nonce}:{station_nonce}".encode(), "sha256")
