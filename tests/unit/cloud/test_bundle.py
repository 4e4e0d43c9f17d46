"""A bundle's lines: the exact form that the station writes, and everything that is none."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest

from aquasmart_cloud.core.bundle import BadBundle, Head, Request, read_head, read_requests
from aquasmart_cloud.core.signing import sign, signing_prefix

KEY = bytes(range(32))
HEAD = Head("demo-1", "k1", 1_763_676_000_000)


def line(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def signed(target: str, body: bytes, encoding: str | None = None, key: bytes = KEY) -> dict[str, object]:
    prefix = signing_prefix("1763676000000", "POST", target, "demo-1", encoding, None, None)
    return {"timestamp": 1_763_676_000_000, "signature": sign(key, prefix, body)}


def bundle(*bodies: bytes, key: bytes = KEY, claimed: int | None = None) -> list[bytes]:
    """By the words of docs/protocol.md §9, with nothing of the station's."""
    lines = [line({"bundle": 1, "station": "demo-1", "key": "k1", "software": "0.1.0", "made_at": HEAD.made_at})]
    for body in bodies:
        parts = signed("/v1/ingest", body, "gzip", key) | {"encoding": "gzip", "body": base64.b64encode(body).decode()}
        lines.append(line(parts))
    chain = b""
    for each in lines:
        chain = hashlib.sha256(chain + each).digest()
    requests = len(bodies) if claimed is None else claimed
    said = json.dumps({"requests": requests, "events": 0, "sha256": chain.hex()})
    lines.append(line(signed("/v1/bundle", said.encode(), key=key) | {"manifest": said}))
    return lines


def read(lines: list[bytes]) -> list[Request]:
    rest: Iterator[bytes] = iter(lines[1:])
    return list(read_requests(rest, lines[0], read_head(lines[0]), KEY))


def test_a_whole_bundle_gives_its_requests_in_order() -> None:
    found = read(bundle(b"one", b"two"))
    assert [(each.body, each.encoding, each.timestamp_ms) for each in found] == [
        (b"one", "gzip", 1_763_676_000_000),
        (b"two", "gzip", 1_763_676_000_000),
    ]
    assert read_head(bundle()[0]) == HEAD
    assert read(bundle()) == []


WHOLE = bundle(b"one", b"two", b"three")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (WHOLE[:-1], "no end"),
        ([*WHOLE[:2], WHOLE[2][:-9]], "cut short"),
        ([WHOLE[0], WHOLE[2], WHOLE[1], *WHOLE[3:]], "another order"),
        ([*WHOLE[:2], *WHOLE[3:]], "missing"),
        ([*WHOLE, WHOLE[1]], "follows"),
        (bundle(b"one", key=bytes(32)), "signature does not hold"),
        (bundle(b"one", claimed=2), "missing"),
        ([*WHOLE[:2], bundle(b"one", b"deux")[2], *WHOLE[3:]], "missing, were added or are in another order"),
        ([*WHOLE[:3], bundle(b"four")[-1]], "missing"),
        ([WHOLE[0], line({"timestamp": 1, "signature": "v1=", "encoding": None, "body": "%%"})], "not base64"),
        ([WHOLE[0], line({"timestamp": -1, "signature": "v1=" + "0" * 64, "encoding": None, "body": ""})], "not hold"),
        ([WHOLE[0], b"[1]\n"], "none of a bundle"),
    ],
)
def test_what_is_not_whole_is_refused(lines: list[bytes], why: str) -> None:
    with pytest.raises(BadBundle, match=why):
        read(lines)


@pytest.mark.parametrize(
    "first", [b"", b"{}\n", b"\xff\n", line({"bundle": 2, "station": "a", "key": "b", "software": "c", "made_at": 1})]
)
def test_what_does_not_begin_as_a_bundle_is_refused(first: bytes) -> None:
    with pytest.raises(BadBundle):
        read_head(first)


def test_a_manifest_is_no_request() -> None:
    """Its signature is for an address that the cloud does not have."""
    last = json.loads(WHOLE[-1])
    body = base64.b64encode(last["manifest"].encode()).decode()
    forged = line({"timestamp": last["timestamp"], "signature": last["signature"], "encoding": None, "body": body})
    with pytest.raises(BadBundle, match="signature does not hold"):
        read([WHOLE[0], forged])
