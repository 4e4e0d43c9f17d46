"""The form of an exported log (docs/protocol.md §9): what its lines say, and whether they hold together.

Pure: lines and a key in, signed parts out. Nothing of a bundle is believed before its last line has been seen: that one
signs a SHA-256 chain over all lines before it. Whose keys there are, and what is stored, is services.importing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from .errors import CloudError
from .model import LIMIT
from .signing import signing_prefix, verify, well_formed

VERSION = 1
INGEST = "/v1/ingest"
SEALED_AS = "/v1/bundle"
LONGEST_LINE_BYTES = 12 << 20
"""A body of 8 MiB in base64, and what stands around it."""


class BadBundle(CloudError):
    """The file is not, or no longer, what a station wrote. Nothing of it is stored."""


class _Head(msgspec.Struct):
    bundle: int
    station: str
    key: str
    software: str
    made_at: int


class _Request(msgspec.Struct):
    timestamp: int
    signature: str
    encoding: str | None
    body: str


class _Last(msgspec.Struct):
    timestamp: int
    signature: str
    manifest: str


class _Manifest(msgspec.Struct):
    requests: int
    events: int
    sha256: str


class Head(NamedTuple):
    """Whose bundle it is."""

    station_id: str
    key_id: str
    made_at: int


class Request(NamedTuple):
    """One signed request, its signature verified."""

    timestamp_ms: int
    signature: str
    encoding: str | None
    body: bytes


def read_head(line: bytes) -> Head:
    """The first line. Errors: BadBundle."""
    head = _decoded(line, _Head, 1)
    if head.bundle != VERSION:
        raise BadBundle(f"this is a bundle of version {head.bundle}", "import it with a newer aquasmart-cloud")
    return Head(head.station, head.key, head.made_at)


def read_requests(lines: Iterator[bytes], first_line: bytes, head: Head, key: bytes) -> Iterator[Request]:
    """The requests, in order, each verified; after the last one, the manifest. Errors: BadBundle at the first fault.

    A request that was given is not yet proof of a whole bundle: only the end of the iteration is.
    """
    chain = hashlib.sha256(first_line).digest()
    for number, line in enumerate(lines, 2):
        if not line.endswith(b"\n") or len(line) > LONGEST_LINE_BYTES:
            raise BadBundle(f"line {number} is cut short, or no line of a bundle", _AGAIN)
        if line.startswith(b'{"timestamp"') and b'"manifest":' in line[:200]:
            _check_manifest(_decoded(line, _Last, number), head, key, chain, number - 2)
            if next(lines, None) is not None:
                raise BadBundle("something follows the bundle's last line", _AGAIN)
            return
        yield _verified(_decoded(line, _Request, number), head, key, number)
        chain = hashlib.sha256(chain + line).digest()
    raise BadBundle("the bundle has no end: it was cut", _AGAIN)


_AGAIN = "export it again, or copy it again: a part of a bundle is never taken"


def _verified(said: _Request, head: Head, key: bytes, number: int) -> Request:
    try:
        body = base64.b64decode(said.body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadBundle(f"line {number}: the body is not base64", _AGAIN) from error
    if not _holds(said.timestamp, said.signature, INGEST, said.encoding, body, head, key):
        raise BadBundle(f"line {number}: the signature does not hold: altered, or of another key", _AGAIN)
    return Request(said.timestamp, said.signature, said.encoding, body)


def _check_manifest(last: _Last, head: Head, key: bytes, chain: bytes, requests: int) -> None:
    said = last.manifest.encode()
    if not _holds(last.timestamp, last.signature, SEALED_AS, None, said, head, key):
        raise BadBundle("the last line's signature does not hold: altered, or of another key", _AGAIN)
    manifest = _decoded(said, _Manifest, 0)
    if manifest.requests != requests or manifest.sha256 != chain.hex():
        raise BadBundle("lines are missing, were added or are in another order", _AGAIN)


def _holds(
    timestamp: int, signature: str, target: str, encoding: str | None, body: bytes, head: Head, key: bytes
) -> bool:
    prefix = signing_prefix(str(timestamp), "POST", target, head.station_id, encoding, None, None)
    return well_formed(signature) and 0 <= timestamp < LIMIT and verify(key, prefix, body, signature)


def _decoded(line: bytes, form: type[Any], number: int) -> Any:
    try:
        return msgspec.json.decode(line, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f"line {number}" if number else "the manifest"
        raise BadBundle(
            f"{where} is none of a bundle: {error}", "name a file that `aquasmart log export` made"
        ) from error
