"""What the ingest transaction finds besides counts: repeated rows that differ, boards that interleave, resets.

Part of the ingest transaction; every finding becomes a named entry. None of it changes what is booked.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from aquasmart_cloud.core.comparing import compare
from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.core.epochs import BoardSpan, interleaved
from aquasmart_cloud.core.model import DIAGNOSTIC, LIMIT, MAX_TEXT, RESET, Batch

from . import entries as names
from .connection import Connection
from .entries import Entries, Place
from .marks import StreamState

_STORED = (
    "SELECT from_seq, through_seq, encoding, body FROM batch WHERE station_id = ?1 AND stream = ?2 AND from_seq >="
    " COALESCE((SELECT MAX(from_seq) FROM batch WHERE station_id = ?1 AND stream = ?2 AND from_seq <= ?3), 0)"
    " AND from_seq <= ?4 ORDER BY from_seq"
)
_BOARDS = "SELECT hardware_id, hardware_seen FROM station WHERE station_id = ?"
_SET_BOARDS = "UPDATE station SET hardware_id = ?, hardware_seen = ? WHERE station_id = ?"
_SPANS = (
    "SELECT hardware_id, MIN(first_at), MAX(last_at) FROM stream WHERE station_id = ? AND clock <> 'unset'"
    " GROUP BY hardware_id"
)


def find_repeated_differences(
    connection: Connection,
    station_id: str,
    batch: Batch,
    body: bytes,
    state: StreamState,
    entries: Entries,
) -> None:
    """Name rows that came before and say something else now. The first content stays; nothing is booked again."""
    through = min(batch.through_seq, state.mark_seq)
    stored = connection.execute(_STORED, (station_id, batch.stream, batch.first_seq, through))
    for from_seq, through_seq, encoding, former_body in stored.fetchall():
        if former_body == body:
            continue
        former = decode_batch(inflate(former_body, None if encoding == "-" else encoding))
        found = compare(former, batch, from_seq, min(through_seq, through))
        if found is None:
            continue
        account = state.account
        volume_ul = account.scale.volume_ul(0, found.counts) if account else 0
        detail = {"stream": batch.stream, "seq": found.seq, "rows": found.rows, "what": found.what}
        place = account.place if account else Place(None, None)
        subject = f"{batch.stream}:{found.seq}"
        entries.once(names.ROW_DIFFERENCE, subject, place, (0, found.counts), volume_ul, detail)


def find_clones(connection: Connection, station_id: str, state: StreamState, batch: Batch, entries: Entries) -> None:
    """Remember the board that wrote this batch, and name two boards that write in turns.

    Looks further only when the board is another than that of the batch before: one station, one board is free.
    """
    if state.latest_hardware_id == state.hardware_id:
        return
    latest, text = connection.execute(_BOARDS, (station_id,)).fetchone()
    if latest == state.hardware_id:
        return
    seen = msgspec.json.decode(text, type=list[str])
    if state.hardware_id not in seen:
        seen.append(state.hardware_id)
    connection.execute(_SET_BOARDS, (state.hardware_id, msgspec.json.encode(seen).decode(), station_id))
    if len(seen) == 1:
        return
    boards = [BoardSpan(*row) for row in connection.execute(_SPANS, (station_id,))]
    for one, other in interleaved(boards):
        detail = {"hardware_ids": [one, other], "stream": batch.stream}
        entries.grow(names.CLONE_SUSPECTED, _short(f"{one}/{other}"), Place(None, None), (0, 0), 0, detail)


def find_unmeasured(state: StreamState, batch: Batch, entries: Entries) -> None:
    """Name the time that a reset hid: its length and the bound of what may have flowed, as the station states it."""
    if state.account is None:
        return
    for entry in batch.entries:
        if entry.kind != RESET or entry.data is None:
            continue
        data = msgspec.json.decode(entry.data, type=dict[str, Any])
        if "unmeasured_ms" not in data and "unmeasured_bound_ul" not in data:
            continue
        bound_ul = _whole(data.get("unmeasured_bound_ul"))
        detail = {
            "stream": batch.stream,
            "unmeasured_ms": _whole(data.get("unmeasured_ms")),
            "bound_ul": bound_ul,
            "before": _whole(data.get("before")),
        }
        subject = f"{batch.stream}:{batch.first_seq + entry.row}"
        extent = (state.account.extent_from, state.account.extent_from)
        entries.once(names.UNMEASURED, subject, state.account.place, extent, bound_ul or 0, detail)


def find_abandoned(state: StreamState, batch: Batch, entries: Entries) -> None:
    """Name what a station was told to forget undelivered (`aquasmart reset --factory --abandon`), as it states it."""
    if state.account is not None:
        return
    for entry in batch.entries:
        if entry.kind != DIAGNOSTIC or entry.data is None:
            continue
        said = msgspec.json.decode(entry.data, type=dict[str, Any]).get("abandoned")
        if not isinstance(said, dict) or (volume_ul := _whole(said.get("volume_ul"))) is None:
            continue
        detail = {"stream": batch.stream, "events": _whole(said.get("events")), "meters": said.get("meters")}
        subject = f"{batch.stream}:{batch.first_seq + entry.row}"
        entries.once(names.ABANDONED, subject, Place(None, None), (0, 0), volume_ul, detail)


def _short(subject: str) -> str:
    """A subject that fits its column, whatever boards call themselves."""
    return subject if len(subject) <= MAX_TEXT else hashlib.sha256(subject.encode()).hexdigest()


def _whole(value: object) -> int | None:
    """A count from a row's data, which may hold anything: an integer in range, or nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LIMIT else None
