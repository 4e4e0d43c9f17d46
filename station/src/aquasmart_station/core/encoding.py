"""Rows of the log to the bytes of a request (docs/protocol.md §4), and back-references filled in as gaps.

Pure. The form is canonical: the same rows give the same JSON bytes on every station and every retry, so that the
contract vectors can be compared byte for byte. Counts carry the volume; nothing here prices anything.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import Any
from uuid import UUID

from .boot_clock import BootOffset
from .model import Kind, Row, Scale, StreamHeader, kind_name
from .rows import columns_of

WALL_STEP_MS = 250
"""A wall clock that moved by less against the monotonic one is not worth a step: NTP slews by far less a second."""

_VOLUME = Kind.VOLUME.value


@dataclass(frozen=True, slots=True)
class Batch:
    """A contiguous piece of one stream, as one request carries it."""

    stream_no: int
    header: StreamHeader
    counts_before: int
    rows: Sequence[Row]
    clock: BootOffset | None = None
    """What is known by now about the wall clock of the boot that wrote the rows."""

    @property
    def first_seq(self) -> int:
        return self.rows[0].seq - self.rows[0].seqs + 1

    @property
    def through_seq(self) -> int:
        return self.rows[-1].seq

    @property
    def counts_through(self) -> int:
        return self.rows[-1].counts

    @property
    def through_position(self) -> int:
        return self.rows[-1].position


def compact(document: Any) -> str:
    """JSON in the canonical form: no spaces, text as UTF-8."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def header_document(header: StreamHeader) -> dict[str, Any]:
    """A stream header as the wire has it; the meterless stream has no meter fields."""
    document: dict[str, Any] = {"id": str(header.id)}
    if header.scale is not None:
        document |= {
            "meter_id": header.meter_id,
            "identity": {"kind": "strong" if header.identity_strong else "weak", "value": header.identity},
            "epoch": str(header.epoch),
            "epoch_from": header.epoch_from,
            "modulus": header.modulus,
            "opening_counts": header.opening_counts,
            "scale": {"ul_num": header.scale.ul_num, "den": header.scale.den},
        }
    document |= {"opened_at": header.opened_at_ms, "boot_id": header.boot_id}
    if header.scale is not None:
        document["meter_boot_id"] = header.meter_boot_id
    document |= {"hardware_id": header.hardware_id, "software": header.software, "clock": header.clock}
    if header.scale is not None:
        document["change_token"] = header.change_token
    return document


def header_from_document(document: dict[str, Any]) -> StreamHeader:
    """The inverse of `header_document`, for headers read back from the log."""
    scale = document.get("scale")
    identity = document.get("identity") or {"kind": "weak", "value": None}
    return StreamHeader(
        id=UUID(document["id"]),
        meter_id=document.get("meter_id"),
        identity=identity["value"],
        identity_strong=identity["kind"] == "strong",
        epoch=UUID(document["epoch"]) if scale else None,
        epoch_from=document.get("epoch_from", 0),
        modulus=document.get("modulus"),
        opening_counts=document.get("opening_counts", 0),
        scale=Scale(scale["ul_num"], scale["den"]) if scale else None,
        opened_at_ms=document["opened_at"],
        boot_id=document["boot_id"],
        meter_boot_id=document.get("meter_boot_id"),
        hardware_id=document["hardware_id"],
        software=document["software"],
        clock=document["clock"],
        change_token=document.get("change_token"),
    )


def with_gaps(rows: Sequence[Row], after_seq: int) -> list[Row]:
    """`rows` made contiguous from `after_seq`: seqs that cannot be sent become `gap` rows.

    A gap runs to the counts of the row that follows, which then covers 0 (docs/protocol.md §3): the counts of the
    missing rows are known only together, and booking them with the gap keeps the stream's sum exact. Derived from the
    neighbours alone, so the same log gives the same gaps on every retry.
    """
    complete: list[Row] = []
    expected = after_seq + 1
    for row in rows:
        first = row.seq - row.seqs + 1
        if row.seq < expected:
            continue  # out of its place: a damaged position; the row before it has its counts already
        if first > expected:
            complete.append(row._replace(seq=first - 1, seqs=first - expected, kind=Kind.GAP.value, flags=0, data=None))
        complete.append(row)
        expected = row.seq + 1
    return complete


def as_gap(row: Row) -> Row:
    """The `gap` of a row that the cloud refuses: the same seqs, the same counts, and nothing else of it."""
    return row._replace(kind=Kind.GAP.value, flags=0, data=None)


def encode_batch(batch: Batch, *, trace_id: str, whole_header: bool) -> bytes:
    """The JSON body of `POST /v1/ingest`, UTF-8, uncompressed.

    Wall times are the best that is known by now (`batch.clock`); rows themselves are never rewritten.
    """
    rows = batch.rows
    columns = columns_of(rows)
    at_ms: Sequence[int] = columns[5]
    mono_ms, counts = columns[6], columns[7]
    if batch.clock is not None:
        at_ms = batch.clock.corrected(at_ms, mono_ms)
    document = {
        "meta": {"trace_id": trace_id},
        "stream": header_document(batch.header) if whole_header else {"id": str(batch.header.id)},
        "first_seq": batch.first_seq,
        "at": at_ms[0],
        "at_mono": mono_ms[0],
        "dt": [0, *map(sub, mono_ms[1:], mono_ms)],
        "wall_steps": _wall_steps(at_ms, mono_ms),
        "counts_before": batch.counts_before,
        "counts": [counts[0] - batch.counts_before, *map(sub, counts[1:], counts)],
        "flags": _runs(columns[4]),
        "rows": _not_plain(rows, columns[3]),
    }
    return compact(document).encode()


def compress(body: bytes) -> bytes:
    """gzip with no time stamp, so that the same body gives the same bytes on one zlib."""
    return gzip.compress(body, compresslevel=6, mtime=0)


def _wall_steps(at_ms: Sequence[int], mono_ms: Sequence[int]) -> list[list[int]]:
    offsets = list(map(sub, at_ms, mono_ms))
    steps: list[list[int]] = []
    # The common batch has no step: two C-level passes decide that without a Python loop.
    if max(offsets) - offsets[0] < WALL_STEP_MS and offsets[0] - min(offsets) < WALL_STEP_MS:
        return steps
    said = offsets[0]
    for index, offset in enumerate(offsets):
        if abs(offset - said) >= WALL_STEP_MS:
            steps.append([index, offset - said])
            said = offset
    return steps


def _runs(flags: Sequence[int]) -> list[list[int]]:
    runs = [[0, flags[0]]]
    if min(flags) != max(flags):
        runs += [[index, now] for index, (before, now) in enumerate(pairwise(flags), 1) if now != before]
    return runs


def _not_plain(rows: Sequence[Row], kinds: Sequence[int]) -> list[dict[str, Any]]:
    if not any(kinds):
        return []
    entries: list[dict[str, Any]] = []
    for index in (place for place, kind in enumerate(kinds) if kind != _VOLUME):
        row = rows[index]
        entry: dict[str, Any] = {"row": index, "kind": kind_name(row.kind)}
        if row.data is not None:
            entry["data"] = json.loads(row.data)
        if row.seqs != 1:
            entry["seqs"] = row.seqs
        entries.append(entry)
    return entries
