"""The event store: events of a station and time, read by decoding its stored batches.

Read only. One store is audit trail, event store and export source at once: a body is about 3 bytes an event, a
row would be a hundred. Rows that a batch repeated (below its `from_seq`) are skipped, so each seq appears once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from aquasmart_cloud.core.comparing import contents
from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.core.model import Batch
from aquasmart_cloud.core.signing import signing_prefix, verify
from aquasmart_cloud.core.timeline import Timeline

from .database import Database
from .stations import Stations

_BATCHES = (
    "SELECT at_from, stream, from_seq, received_at, encoding, body FROM batch"
    " WHERE station_id = ? AND at_to >= ? AND at_from < ? AND (at_from, stream, from_seq) > (?, ?, ?)"
    " ORDER BY at_from, stream, from_seq LIMIT 50"
)
_FIRST = (-(1 << 62), "0" * 32, 0)
_SIGNED = (
    "SELECT key_id, timestamp_ms, target, encoding, idempotency_key, if_match, signature, body FROM batch"
    " WHERE station_id = ? AND stream = ? AND from_seq = ?"
)


class Event(NamedTuple):
    """One event as stored: `counts` is its position, `at` the believed time, `mono_ms` the board's own."""

    stream: str
    seq: int
    seqs: int
    at: int
    mono_ms: int
    kind: str
    flags: int
    counts: int
    data: str | None


def events(database: Database, station_id: str, at_from: int, at_to: int) -> Iterator[Event]:
    """Events with `at_from` <= believed time < `at_to`, batch by batch in order of their beginning.

    A page of bodies at a time: memory does not grow with what is asked for. Errors: DatabaseError.
    """
    after: tuple[Any, ...] = _FIRST
    while True:
        with database.reading() as connection:
            page = connection.execute(_BATCHES, (station_id, at_from, at_to, *after)).fetchall()
        for _, stream, from_seq, received_at, encoding, body in page:
            batch = decode_batch(inflate(body, None if encoding == "-" else encoding))
            for event in unpack(batch, stream, received_at):
                if event.seq >= from_seq and at_from <= event.at < at_to:
                    yield event
        if not page:
            return
        after = tuple(page[-1][:3])


def unpack(batch: Batch, stream: str, received_at: int) -> Iterator[Event]:
    """The rows of a batch as events."""
    timeline = Timeline(batch, received_at)
    positions = list(accumulate(batch.counts, initial=batch.counts_before))
    changes = dict(batch.flags)
    flags = 0
    for row, (seq, content) in enumerate(contents(batch).items()):
        flags = changes.get(row, flags)
        yield Event(
            stream,
            seq,
            seq - content.seq_before,
            timeline.at(row),
            batch.at_mono + timeline.offsets[row],
            content.kind,
            flags,
            positions[row + 1],
            content.data,
        )


def still_verifies(database: Database, stations: Stations, station_id: str, stream: str, from_seq: int) -> bool:
    """Whether a stored body's signature holds when it is checked again, with the key of then, revoked or not.

    For audits: neither the row nor its key can have been changed since. Errors: DatabaseError, SealError.
    """
    with database.reading() as connection:
        row = connection.execute(_SIGNED, (station_id, stream, from_seq)).fetchone()
    if row is None:
        return False
    key_id, timestamp_ms, target, encoding, idempotency_key, if_match, signature, body = row
    key = stations.find_key(station_id, key_id)
    prefix = signing_prefix(
        str(timestamp_ms),
        "POST",
        target,
        station_id,
        None if encoding == "-" else encoding,
        idempotency_key,
        if_match,
    )
    return key is not None and verify(key.key, prefix, body, "v1=" + signature.hex())
