"""The form of an exported log: one file of signed requests (docs/protocol.md §9). Pure: text in, text out.

The first line says whose it is. Each further line is one `/v1/ingest` request, its body byte for byte as it would
have been sent and its signature over exactly those bytes, so that the cloud can keep it as it keeps any other. The last
line signs a SHA-256 chain over all lines before it: a file that was cut, reordered or altered anywhere is none.
"""

from __future__ import annotations

import base64
import hashlib

from .conversation import Identity, SignedRequest, signed_request
from .encoding import compact

VERSION = 1
INGEST = "/v1/ingest"
SEALED_AS = "/v1/bundle"
"""The target that the manifest is signed for: no address of the cloud, so that it can never pass for a request."""


class BundleWriter:
    """Gives the lines of one bundle, in order, each with its line end."""

    def __init__(self, identity: Identity, made_at_ms: int) -> None:
        self._identity, self._made_at_ms = identity, made_at_ms
        self._chain = b""
        self._requests = self._events = 0

    def head(self) -> bytes:
        identity = self._identity
        return self._chained(
            {
                "bundle": VERSION,
                "station": identity.station_id,
                "key": identity.key_id,
                "software": identity.software,
                "made_at": self._made_at_ms,
            }
        )

    def request(self, body: bytes, encoding: str | None, events: int) -> bytes:
        """One batch, `body` as it would be sent."""
        signed = signed_request(self._identity, INGEST, body, self._made_at_ms, encoding=encoding)
        self._requests += 1
        self._events += events
        return self._chained(_signed(signed) | {"encoding": encoding, "body": base64.b64encode(body).decode()})

    def manifest(self) -> bytes:
        """The last line."""
        said = compact({"requests": self._requests, "events": self._events, "sha256": self._chain.hex()})
        signed = signed_request(self._identity, SEALED_AS, said.encode(), self._made_at_ms)
        return (compact(_signed(signed) | {"manifest": said}) + "\n").encode()

    def _chained(self, document: dict[str, object]) -> bytes:
        line = (compact(document) + "\n").encode()
        self._chain = hashlib.sha256(self._chain + line).digest()
        return line


def _signed(request: SignedRequest) -> dict[str, object]:
    return {"timestamp": int(request.headers["X-Timestamp"]), "signature": request.signature}
