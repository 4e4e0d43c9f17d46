"""The wire protocol once more, written from docs/protocol.md alone: what the contract vectors are made with.

Only the standard library, and neither package: an error that station and cloud share cannot hide in here.
It favours the plainest code over speed; §-numbers are those of docs/protocol.md.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

NOW_MS = 1_763_676_000_000
"""What the cloud's clock shows in every vector."""

STATION = "demo-1"
KEY_ID = "k1"
KEY = bytes(range(32))
REVOKED_KEY_ID = "k0"
REVOKED_KEY = bytes(range(32, 64))
RETIRED_STATION = "demo-retired"
RETIRED_KEY = bytes(range(64, 96))

WINDOW_MS = 300_000
PRICE_LIMIT = 1 << 63
WALL_STEP_MS = 250


def signing_string(
    timestamp: str,
    method: str,
    target: str,
    station: str,
    body: bytes,
    *,
    encoding: str | None = None,
    idempotency_key: str | None = None,
    if_match: str | None = None,
) -> bytes:
    """§1: what a request's signature covers."""
    optional = ":".join(value or "-" for value in (encoding, idempotency_key, if_match))
    return f"v1:{timestamp}:{method}:{target}:{station}:{optional}:".encode() + body


def reply_string(timestamp: str, status: int, request_signature: str, body: bytes) -> bytes:
    """§2: what an answer's signature covers."""
    return f"v1-reply:{timestamp}:{status}:{request_signature}:".encode() + body


def signature(key: bytes, message: bytes) -> str:
    """§1: `v1=` and 64 lower-case hex digits."""
    return "v1=" + hmac.new(key, message, hashlib.sha256).hexdigest()


def price_ul(counts: int, ul_num: int, den: int) -> int:
    """§3: the price of a position. ValueError where it cannot be carried."""
    if ul_num < 1 or den < 1 or counts < 0 or counts * ul_num >= PRICE_LIMIT:
        raise ValueError("out of range")
    return counts * ul_num // den


def volume_ul(from_counts: int, to_counts: int, ul_num: int, den: int) -> int:
    """§3: the volume between two positions."""
    return price_ul(to_counts, ul_num, den) - price_ul(from_counts, ul_num, den)


def canonical(document: Any) -> str:
    """§4: the only way the station writes JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def batch_document(
    trace_id: str, stream: dict[str, Any], counts_before: int, rows: list[dict[str, Any]], shift_ms: int = 0
) -> dict[str, Any]:
    """§4: one batch in the canonical form.

    A row has seq, seqs, kind, flags, at_ms, mono_ms, counts (the position), data (an object or None).
    """
    before = [counts_before] + [row["counts"] for row in rows]
    mono = [rows[0]["mono_ms"]] + [row["mono_ms"] for row in rows]
    flags = [[0, rows[0]["flags"]]]
    steps: list[list[int]] = []
    said = rows[0]["at_ms"] - rows[0]["mono_ms"]
    notable = []
    for index, row in enumerate(rows):
        if row["flags"] != flags[-1][1]:
            flags.append([index, row["flags"]])
        offset = row["at_ms"] - row["mono_ms"]
        if abs(offset - said) >= WALL_STEP_MS:
            steps.append([index, offset - said])
            said = offset
        if row["kind"] != "volume":
            notable.append(_entry(index, row))
    return {
        "meta": {"trace_id": trace_id},
        "stream": stream,
        "first_seq": rows[0]["seq"] - rows[0]["seqs"] + 1,
        "at": rows[0]["at_ms"] + shift_ms,
        "at_mono": rows[0]["mono_ms"],
        "dt": [mono[index + 1] - mono[index] for index in range(len(rows))],
        "wall_steps": steps,
        "counts_before": counts_before,
        "counts": [before[index + 1] - before[index] for index in range(len(rows))],
        "flags": flags,
        "rows": notable,
    }


def _entry(index: int, row: dict[str, Any]) -> dict[str, Any]:
    entry = {"row": index, "kind": row["kind"]}
    if row["data"] is not None:
        entry["data"] = row["data"]
    if row["seqs"] != 1:
        entry["seqs"] = row["seqs"]
    return entry


def body_of(recipe: Any) -> bytes:
    """The bytes a vector's `body` stands for: text, or one of the forms tests/contract/README.md lists."""
    if isinstance(recipe, str):
        return recipe.encode()
    if isinstance(recipe, list):
        return b"".join(body_of(part) for part in recipe)
    [(form, value)] = recipe.items()
    return _FORMS[form](value)


def _gzip(deflated: bytes, crc: int, size: int) -> bytes:
    return b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff" + deflated + struct.pack("<II", crc, size & 0xFFFFFFFF)


def stored_gzip(data: bytes) -> bytes:
    """gzip (RFC 1952) without compression: the same bytes whatever compressor a machine has."""
    pieces = [data[start : start + 65_535] for start in range(0, len(data), 65_535)] or [b""]
    blocks = [
        struct.pack("<BHH", index == len(pieces) - 1, len(piece), len(piece) ^ 0xFFFF) + piece
        for index, piece in enumerate(pieces)
    ]
    return _gzip(b"".join(blocks), zlib.crc32(data), len(data))


def gzip_of_zeros(size: int) -> bytes:
    """gzip of `size` zero bytes at 159:1, by hand: a literal, then copies of 258 bytes (RFC 1951 §3.2.6)."""
    copies, rest = divmod(size - 1, 258)
    bits = "110" + "00110000"  # last block, fixed codes; the literal 0
    bits += ("11000101" + "00000") * copies  # length 258, distance 1
    bits += "00110000" * rest + "0000000"  # single zeros; end of block
    bits += "0" * (-len(bits) % 8)
    deflated = int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")
    return _gzip(deflated, zlib.crc32(bytes(size)), size)


_FORMS: dict[str, Callable[[Any], bytes]] = {
    "hex": bytes.fromhex,
    "repeat": lambda value: bytes(value[0].encode() * value[1]),
    "gzip": lambda value: stored_gzip(body_of(value)),
    "gzip_zeros": gzip_of_zeros,
}
