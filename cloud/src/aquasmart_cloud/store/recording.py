"""The ingest transaction: one signed batch becomes a mark, a booking, rollups and one stored body, or nothing.

Its order (docs/protocol.md §4–5): find the stream, refuse a gap, drop what is known, clip, book, add up, store the
body, log. All of it is one savepoint of one SQLite transaction (store.committing), so a crash at any statement leaves
the database as it was, and the sender's retry begins anew. Once COMMIT has returned, the mark is durable with
the booking: a retry, a replay or a concurrent copy finds every row at or below the mark and books nothing.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import NamedTuple

from aquasmart_cloud.core.accepting import Accepted, accept, events_in
from aquasmart_cloud.core.changes import minutes_text
from aquasmart_cloud.core.decoding import check_positions
from aquasmart_cloud.core.model import HEARTBEAT, MERGED, Batch, Scale
from aquasmart_cloud.core.pricing import Rollups
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.timeline import MinuteRun, Timeline

from . import entries as names
from .booking import Booking
from .connection import Connection
from .database import Database
from .entries import Entries
from .findings import find_abandoned, find_clones, find_repeated_differences, find_unmeasured
from .marks import StreamState, ask_stream, open_stream, read_stream
from .scale_refusals import name_difference
from .schema import GRAIN_WIDTHS_MS

_NOT_NOTABLE = frozenset({HEARTBEAT, MERGED})

_MARK = (
    "UPDATE stream SET mark_seq = ?1, mark_counts = ?2, first_at = CASE WHEN ?3 < first_at THEN ?3 ELSE first_at END,"
    " last_at = CASE WHEN ?4 > last_at THEN ?4 ELSE last_at END WHERE station_id = ?5 AND stream = ?6"
)
_BATCH = (
    "INSERT INTO batch (station_id, stream, from_seq, through_seq, counts_from, counts_through, at_from, at_to,"
    " believed_shift_ms, rows, received_at, key_id, timestamp_ms, target, encoding, idempotency_key, if_match,"
    " signature, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NOTABLE = (
    "INSERT INTO notable (station_id, stream, seq, meter_id, at, kind, flags, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ROLLUPS_AT_ONCE = 16
_ROLLUP = (
    "INSERT INTO rollup (station_id, meter_id, grain, bucket_at, volume_ul, disputed_ul, events)"
    " VALUES {rows} ON CONFLICT (station_id, meter_id, grain, bucket_at) DO UPDATE SET"
    " volume_ul = rollup.volume_ul + excluded.volume_ul, disputed_ul = rollup.disputed_ul + excluded.disputed_ul,"
    " events = rollup.events + excluded.events"
)
_STATION = (
    "UPDATE station SET last_seen_at = COALESCE(?, last_seen_at), events = events + ?, volume_ul = volume_ul + ?,"
    " disputed_ul = disputed_ul + ? WHERE station_id = ?"
)
_LOG = (
    "INSERT INTO processing_log (station_id, log_id, at, request_id, trace_id, action, detail)"
    " SELECT ?1, COALESCE(MAX(log_id), 0) + 1, ?2, ?3, ?4, ?6, ?5 FROM processing_log WHERE station_id = ?1"
)


class SignedBody(NamedTuple):
    """A request as received: everything that its signature covers, and the signature."""

    station_id: str
    key_id: str
    timestamp_ms: int
    target: str
    encoding: str | None
    idempotency_key: str | None
    if_match: str | None
    signature: str
    body: bytes


class Receipt(NamedTuple):
    """What the answer to a batch says (docs/protocol.md §4)."""

    stream: str
    acked_through: int
    inserted: int
    duplicates: int
    counts_through: int
    cumulative_ul: int


def record(
    database: Database,
    signed: SignedBody,
    batch: Batch,
    received_at: int,
    request_id: str,
    *,
    by_hand: bool = False,
) -> Receipt:
    """Take a verified batch, exactly once whatever is repeated.

    `by_hand`: it came as a file (services.importing), which is no sign of life of the station.
    Errors: Refusal `stream-unknown`, `sequence-gap`, `invalid`, nothing stored; DatabaseError, nothing stored.
    """
    timeline = Timeline(batch, received_at)

    def work(connection: Connection) -> Receipt:
        known = read_stream(ask_stream(connection, signed.station_id, batch.stream))
        return Recording(connection, signed, batch, timeline, received_at).run(known, request_id, by_hand=by_hand)

    return database.write(work, signed.station_id)


def record_within(connection: Connection, signed: SignedBody, batch: Batch, received_at: int) -> Receipt:
    """The same within a transaction of the caller's: for reckoning stored batches again (store.replaying).

    Errors: Refusal; what the transaction then holds of the batch is for the caller to roll back.
    """
    known = read_stream(ask_stream(connection, signed.station_id, batch.stream))
    recording = Recording(connection, signed, batch, Timeline(batch, received_at), received_at)
    return recording.run(known, "", by_hand=True)


class Recording:
    """One batch within its transaction."""

    def __init__(
        self,
        connection: Connection,
        signed: SignedBody,
        batch: Batch,
        timeline: Timeline,
        received_at: int,
    ) -> None:
        self._connection = connection
        self._signed = signed
        self._batch = batch
        self._timeline = timeline
        self._received_at = received_at
        self._entries = Entries(connection, signed.station_id, received_at)

    def run(self, known: StreamState | None, request_id: str, *, by_hand: bool) -> Receipt:
        """Do all of it, in the locks' one order: stream, epoch, ledger, rollups, body, station, log.

        `known`: the stream's state as read in this transaction; None where it is new.
        """
        batch, signed = self._batch, self._signed
        state = self._stream(known)
        accepted = accept(batch, state.mark_seq, state.mark_counts)
        duplicates = min(batch.through_seq, state.mark_seq) - batch.first_seq + 1
        inserted = max(batch.through_seq - state.mark_seq, 0)
        self._check_claim(state, accepted)
        if duplicates:
            find_repeated_differences(self._connection, signed.station_id, batch, signed.body, state, self._entries)
        rollups = Rollups()
        if inserted:
            self._store(state, accepted, rollups)
            if state.change_token is not None:
                name_difference(self._connection, signed.station_id, state.change_token, self._entries)
            state.mark_seq, state.mark_counts = batch.through_seq, batch.counts_through
        totals = (
            None if by_hand else self._received_at,
            inserted,
            rollups.volume_ul,
            rollups.disputed_ul,
            signed.station_id,
        )
        self._connection.execute(_STATION, totals)
        # What was inserted tells what it changed in the rollups: store.fleet_rollups adds it up from here.
        minutes = f',"minutes":{minutes_text(rollups.minutes)}' if inserted else ""
        detail = (
            f'{{"stream":"{batch.stream}","through":{batch.through_seq},"inserted":{inserted},'
            f'"duplicates":{duplicates},"volume_ul":{rollups.volume_ul}{minutes}}}'
        )
        action = "import" if by_hand else "ingest"
        self._connection.execute(
            _LOG, (signed.station_id, self._received_at, request_id, batch.trace_id, detail, action)
        )
        scale = state.account.scale if state.account else Scale(1, 1)
        cumulative_ul = scale.volume_ul(state.opening_counts, max(state.mark_counts, state.opening_counts))
        return Receipt(batch.stream, state.mark_seq, inserted, duplicates, state.mark_counts, cumulative_ul)

    def _stream(self, state: StreamState | None) -> StreamState:
        """The stream's state, opened where it is new. Refuses before anything is written."""
        batch, station_id = self._batch, self._signed.station_id
        if state is None and batch.header is None:
            raise Refusal("stream-unknown", "send the stream's whole header")
        if state is None and batch.header is not None:
            opening = batch.header.meter.opening_counts if batch.header.meter else 0
            _refuse_gap(batch, 0, opening)
            at, _ = self._timeline.extent(0)
            return open_stream(self._connection, station_id, batch, batch.header, self._entries, at)
        assert state is not None
        _refuse_gap(batch, state.mark_seq, state.mark_counts)
        check_positions(state.account.scale if state.account else None, batch.counts_through)
        return state

    def _check_claim(self, state: StreamState, accepted: Accepted) -> None:
        """Name it where the batch has another position at the mark than the cloud."""
        claim, account = accepted.claim, state.account
        if claim is None or claim == state.mark_counts or account is None:
            return
        low, high = sorted((claim, state.mark_counts))
        detail = {"claimed": claim, "known": state.mark_counts, "at_seq": state.mark_seq}
        extent = (low + account.shift_counts, high + account.shift_counts)
        volume_ul = account.scale.volume_ul(low, high)
        self._entries.grow(names.CLAIM_DIFFERENCE, self._batch.stream, account.place, extent, volume_ul, detail)

    def _store(self, state: StreamState, accepted: Accepted, rollups: Rollups) -> None:
        """Everything a batch with new rows writes but the totals."""
        batch, station_id = self._batch, self._signed.station_id
        runs = list(self._timeline.minutes(accepted.first_row))
        at_from, at_to = self._timeline.extent(accepted.first_row)
        mark = (batch.through_seq, batch.counts_through, at_from, at_to, station_id, batch.stream)
        self._connection.execute(_MARK, mark)
        if state.account is not None:
            Booking(self._connection, station_id, state.account, batch, self._entries).book(accepted, runs, rollups)
        self._count_events(state, accepted, runs, rollups)
        self._write_rollups(state, rollups)
        self._keep_body(state, accepted, at_from, at_to)
        if batch.entries:
            self._keep_notable(state, accepted)
        find_clones(self._connection, station_id, state, batch, self._entries)

    def _count_events(self, state: StreamState, accepted: Accepted, runs: list[MinuteRun], rollups: Rollups) -> None:
        for start, end, bucket_at in runs:
            number = events_in(accepted, self._batch.first_seq, state.mark_seq, start, end)
            rollups.add(bucket_at, events=number)

    def _write_rollups(self, state: StreamState, rollups: Rollups) -> None:
        station_id, meter_id = self._signed.station_id, state.account.meter_id if state.account else ""
        rows = [
            (station_id, meter_id, grain, bucket_at, *figures)
            for grain, width_ms in GRAIN_WIDTHS_MS.items()
            for bucket_at, figures in rollups.grain(width_ms).items()
        ]
        # Several rows a statement: most batches lie within a minute or two and need one.
        for start in range(0, len(rows), _ROLLUPS_AT_ONCE):
            few = rows[start : start + _ROLLUPS_AT_ONCE]
            self._connection.execute(_rollup(len(few)), list(chain.from_iterable(few)))

    def _keep_body(self, state: StreamState, accepted: Accepted, at_from: int, at_to: int) -> None:
        signed, batch = self._signed, self._batch
        self._connection.execute(
            _BATCH,
            (
                signed.station_id,
                batch.stream,
                state.mark_seq + 1,
                batch.through_seq,
                accepted.from_counts,
                batch.counts_through,
                at_from,
                at_to,
                self._timeline.shift_ms,
                batch.rows,
                self._received_at,
                signed.key_id,
                signed.timestamp_ms,
                signed.target,
                signed.encoding or "-",
                signed.idempotency_key,
                signed.if_match,
                bytes.fromhex(signed.signature.removeprefix("v1=")),
                signed.body,
            ),
        )

    def _keep_notable(self, state: StreamState, accepted: Accepted) -> None:
        batch, station_id = self._batch, self._signed.station_id
        meter_id = state.account.meter_id if state.account else None
        rows = []
        for entry in batch.entries:
            if entry.row < accepted.first_row or entry.kind in _NOT_NOTABLE:
                continue
            seq = batch.first_seq + entry.row if accepted.seq_ends is None else accepted.seq_ends[entry.row]
            flags = next((each for row, each in reversed(batch.flags) if row <= entry.row), 0)
            at = self._timeline.at(entry.row)
            rows.append((station_id, batch.stream, seq, meter_id, at, entry.kind, flags, entry.data))
        self._connection.executemany(_NOTABLE, rows)
        find_unmeasured(state, batch, self._entries)
        find_abandoned(state, batch, self._entries)


@cache
def _rollup(rows: int) -> str:
    return _ROLLUP.format(rows=", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows))


def _refuse_gap(batch: Batch, mark_seq: int, mark_counts: int) -> None:
    if batch.first_seq > mark_seq + 1:
        raise Refusal(
            "sequence-gap",
            f"the batch begins at seq {batch.first_seq}; the next one wanted is {mark_seq + 1}",
            members={"expected_seq": mark_seq + 1, "counts_through": mark_counts},
        )
