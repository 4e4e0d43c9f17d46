"""Bytes on the wire per event: the station's own encoder, beside the same facts as one JSON object per row.

Bodies only, in the steady state (the stream's header has been sent); HTTP's own headers come on top for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from aquasmart_station.core.encoding import Batch, compress, encode_batch
from aquasmart_station.core.model import Row

from .figures import Figure
from .water import drafts, stream_header

BATCHES = 20
BUDGETS = {50: None, 500: 2, 2_000: None}


def rows_of(count: int, seed: int = 1, started_at_ms: int | None = None) -> list[Row]:
    """The first `count` rows of a stream, as the log has them."""
    header = stream_header()
    source = drafts(header, seed) if started_at_ms is None else drafts(header, seed, started_at_ms)
    return [
        Row(seq, seq, 1, int(draft.kind), int(draft.flags), draft.at_ms, draft.mono_ms, draft.counts, None)
        for seq, draft in enumerate(islice(source, count), 1)
    ]


def measure() -> Iterator[Figure]:
    header = stream_header()
    for size, budget in BUDGETS.items():
        rows = rows_of(size * BATCHES)
        ours = raw = packed = 0
        counts_before = header.opening_counts
        for start in range(0, len(rows), size):
            piece = rows[start : start + size]
            batch = Batch(1, header, counts_before, piece)
            ours += len(compress(encode_batch(batch, trace_id=f"{start:032x}", whole_header=False)))
            objects = json.dumps([_row_object(row) for row in piece], separators=(",", ":")).encode()
            raw += len(objects)
            packed += len(compress(objects))
            counts_before = piece[-1].counts
        yield Figure(
            f"wire.batch_{size}",
            ours / len(rows),
            "B/event",
            budget,
            reference=raw / len(rows),
            reference_is=f"row-wise JSON ({packed / len(rows):.1f} gzipped)",
        )


def _row_object(row: Row) -> dict[str, object]:
    """The same facts, no random ids, no repeated station: as lean as rows can be."""
    return {
        "seq": row.seq,
        "at": row.at_ms,
        "mono": row.mono_ms,
        "kind": "volume",
        "counts": row.counts,
        "flags": row.flags,
    }
