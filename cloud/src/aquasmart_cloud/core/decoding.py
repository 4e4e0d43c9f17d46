"""Bytes of a request to a batch or a heartbeat, every rule of docs/protocol.md §1 and §4 checked.

Pure. The order of refusals is the protocol's: not gzip or not JSON (400), too many rows (413), wrong shape or
range (422). The fast path is one pass of the typed decoder and a few sums in C; whatever it cannot vouch for is
read again by `core.strict_json`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from .model import (
    LIMIT,
    MAX_BODY_BYTES,
    MAX_DATA_BYTES,
    MAX_DEPTH,
    MAX_ROWS,
    STANDS_FOR_SEVERAL,
    Batch,
    Entry,
    Scale,
)
from .problems import Refusal
from .stream_headers import header_quotes, read_header
from .strict_json import invalid, malformed, parse
from .wire import WireBatch, WireEntry, WireHeartbeat, WireHeartbeatBody, WireHolding

_GZIP_WBITS = 31
_DATA_LEVEL = 3
"""`data` stands inside the document, the list `rows` and an entry."""
_BATCH_QUOTES = 2 * 11 + 4
"""Quotation marks of a batch's own keys, and of `trace_id` with its value."""

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BATCH = msgspec.json.Decoder(WireBatch)
_HEARTBEAT = msgspec.json.Decoder(WireHeartbeat)
_PAYLOAD = msgspec.json.Decoder(WireHeartbeatBody)


class Heartbeat(NamedTuple):
    """A heartbeat: its trace id, its payload as JSON text as sent, and what the station says it still holds."""

    trace_id: str
    payload: str
    retained_digest: str | None = None
    retained: Sequence[WireHolding] | None = None


def inflate(body: bytes, encoding: str | None) -> bytes:
    """The body unpacked. Never produces more than 8 MiB and a byte, whatever was sent.

    Errors: Refusal `unsupported-encoding`, `malformed`, `too-large`.
    """
    if encoding is None:
        return body
    if encoding != "gzip":
        raise Refusal("unsupported-encoding", "Content-Encoding may be absent or gzip")
    unpacker = zlib.decompressobj(_GZIP_WBITS)
    try:
        plain = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise malformed(f"not gzip: {error}") from error
    if len(plain) > MAX_BODY_BYTES:
        raise Refusal("too-large", f"the body unpacks to more than {MAX_BODY_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise malformed("the gzip stream ends early, or something follows it")
    return plain


def decode_batch(body: bytes) -> Batch:
    """A batch from its unpacked JSON. Errors: Refusal `malformed`, `too-large`, `invalid`."""
    try:
        wire = _BATCH.decode(body)
    except _UNDECODABLE as error:
        raise _reason(body, error) from error
    rows = len(wire.counts)
    _check_rows(max(rows, len(wire.dt)))
    if not rows or rows != len(wire.dt):
        raise invalid("$.dt", "dt and counts have one entry per row, at least one")
    if b"\\" in body or body.count(b'"') != _quotes(wire):
        # Something the typed pass does not vouch for: unknown keys (fine), duplicate ones, escapes.
        parse(body)
    entries = [_entry(index, each) for index, each in enumerate(wire.rows)] if wire.rows else ()
    _check_places("$.wall_steps", [step[0] for step in wire.wall_steps], rows)
    _check_places("$.flags", [flag[0] for flag in wire.flags], rows)
    _check_places("$.rows", [entry.row for entry in entries], rows)
    return _batch(wire, entries)


def _batch(wire: WireBatch, entries: Sequence[Entry]) -> Batch:
    through_seq = wire.first_seq - 1 + len(wire.counts) + sum(entry.seqs - 1 for entry in entries)
    if through_seq >= LIMIT:
        raise invalid("$.first_seq", "the last seq is out of range")
    counts_through = wire.counts_before + sum(wire.counts)
    if counts_through >= LIMIT:
        raise invalid("$.counts", "the last position is out of range")
    if max(wire.at, wire.at_mono) + sum(wire.dt) >= LIMIT:
        raise invalid("$.dt", "the last time is out of range")
    header = read_header(wire.stream)
    if header is not None:
        check_positions(header.meter.scale if header.meter else None, counts_through)
    return Batch(
        trace_id=wire.meta.trace_id,
        stream=wire.stream.id.replace("-", ""),
        header=header,
        first_seq=wire.first_seq,
        through_seq=through_seq,
        at=wire.at,
        at_mono=wire.at_mono,
        dt=wire.dt,
        wall_steps=wire.wall_steps,
        counts_before=wire.counts_before,
        counts_through=counts_through,
        counts=wire.counts,
        flags=wire.flags,
        entries=entries,
    )


def check_positions(scale: Scale | None, counts_through: int) -> None:
    """Whether a stream of this scale (None: without a meter) may reach this position. Errors: Refusal `invalid`.

    Called again for a stream that was named by its id only, once its header is known.
    """
    if scale is None:
        if counts_through:
            raise invalid("$.counts", "the stream without a meter has no counts")
    elif not scale.carries(counts_through):
        raise invalid("$.counts", "a position times ul_num reaches 2^63")


def _entry(index: int, wire: WireEntry) -> Entry:
    where = f"$.rows[{index}]"
    seqs = 1 if wire.seqs is UNSET else wire.seqs
    if wire.seqs is not UNSET and wire.kind not in STANDS_FOR_SEVERAL:
        raise invalid(where + ".seqs", "only merged and gap stand for several seqs")
    data = None
    raw = bytes(wire.data)
    if raw:
        if len(raw) > MAX_DATA_BYTES:
            raise invalid(where + ".data", f"more than {MAX_DATA_BYTES} bytes")
        if not isinstance(parse(raw, where=where + ".data", depth=MAX_DEPTH - _DATA_LEVEL), dict):
            raise invalid(where + ".data", "data is an object")
        data = raw.decode()
    if not wire.kind.isprintable():
        raise invalid(where + ".kind", "a kind is printable text")
    return Entry(wire.row, wire.kind, data, seqs)


def _check_rows(rows: int) -> None:
    if rows > MAX_ROWS:
        raise Refusal("too-large", f"{rows} rows; at most {MAX_ROWS} in one batch")


def _check_places(where: str, places: Sequence[int], rows: int) -> None:
    """Row indexes in range and strictly increasing."""
    before = -1
    for index, place in enumerate(places):
        if place >= rows:
            raise invalid(f"{where}[{index}]", f"row {place} of {rows}")
        if place <= before:
            raise invalid(f"{where}[{index}]", "rows must increase strictly")
        before = place


def _quotes(wire: WireBatch) -> int:
    """How many quotation marks the document has when no key stands twice and none is unknown.

    Without escapes each key and each text has exactly two, so a key more shows as a higher number: one count in C
    instead of a second parse.
    """
    number = _BATCH_QUOTES + header_quotes(wire.stream)
    for entry in wire.rows:
        raw = bytes(entry.data)
        number += 6 + (2 + raw.count(b'"') if raw else 0) + (0 if entry.seqs is UNSET else 2)
    return number


def _reason(body: bytes, error: Exception) -> Refusal:
    """Why the typed pass failed, in the protocol's order of refusals. Never raises anything but a Refusal."""
    document = parse(body)
    if isinstance(document, dict):
        columns = (document.get(name) for name in ("counts", "dt"))
        _check_rows(max((len(column) for column in columns if isinstance(column, list)), default=0))
    if not isinstance(error, msgspec.ValidationError):
        return malformed(str(error))
    what, _, where = str(error).partition(" - at ")
    return invalid(where.strip("`") or "$", what)


def decode_heartbeat(body: bytes) -> Heartbeat:
    """A heartbeat from its JSON. Errors: Refusal `malformed`, `invalid`."""
    try:
        wire = _HEARTBEAT.decode(body)
    except _UNDECODABLE as error:
        raise _reason(body, error) from error
    parse(body)
    said = wire.payload
    digest = None if said.retained_digest is UNSET else said.retained_digest
    retained = None if said.retained is UNSET else said.retained
    return Heartbeat(wire.meta.trace_id, bytes(_PAYLOAD.decode(body).payload).decode(), digest, retained)
