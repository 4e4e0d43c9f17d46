"""Signatures of requests and answers (docs/protocol.md §1, §2), and the package's one comparison of secrets.

Pure functions of bytes. No header parsing beyond the signature's own form, no key storage, no clock.
"""

from __future__ import annotations

import hmac
import re

_SIGNATURE = re.compile(r"v1=[0-9a-f]{64}")
_PREFIX = "v1="


def same(given: bytes, expected: bytes) -> bool:
    """Whether two secrets are equal, in time that does not depend on where they differ.

    The only place of this package where signatures or tokens are compared: tests/lint forbids another.
    """
    return hmac.compare_digest(given, expected)


def well_formed(signature: str) -> bool:
    """Whether a header value is exactly `v1=` and 64 lower-case hex digits."""
    return _SIGNATURE.fullmatch(signature) is not None


def signing_prefix(
    timestamp: str,
    method: str,
    target: str,
    station_id: str,
    encoding: str | None,
    idempotency_key: str | None,
    if_match: str | None,
) -> bytes:
    """What stands before the raw body in the signed bytes; an absent header is signed as `-`.

    `target` is the request target exactly as sent; header values are Latin-1, as HTTP delivers them.
    """
    return (
        f"v1:{timestamp}:{method}:{target}:{station_id}:{encoding or '-'}:{idempotency_key or '-'}:{if_match or '-'}:"
    ).encode("latin-1", "replace")


def sign(key: bytes, prefix: bytes, body: bytes) -> str:
    """The `X-Signature` value of a request: `v1=` and the hex HMAC-SHA256 of prefix and raw body."""
    return _PREFIX + hmac.digest(key, prefix + body, "sha256").hex()


def verify(key: bytes, prefix: bytes, body: bytes, signature: str) -> bool:
    """Whether `signature` is that of these bytes. A malformed one is compared too, and is never equal."""
    return same(signature.encode("latin-1", "replace"), sign(key, prefix, body).encode())


def sign_reply(key: bytes, timestamp_ms: int, status: int, request_signature: str, body: bytes) -> str:
    """The `X-Signature` of an answer, bound to the request it answers so that it cannot serve another."""
    prefix = f"v1-reply:{timestamp_ms}:{status}:{request_signature}:".encode("latin-1", "replace")
    return sign(key, prefix, body)


def derived_key(old_key: bytes, cloud_nonce: str, station_nonce: str) -> bytes:
    """The key that follows `old_key` in a rotation (docs/protocol.md §7): no key travels, only the two nonces do."""
    return hmac.digest(old_key, f"v1-rotate:{cloud_nonce}:{station_nonce}".encode(), "sha256")
