"""Booking a batch's counts: the fast path that extends one interval, and the exact path for everything else.

Part of the ingest transaction: every function takes its connection. Both paths end in the same state where both
apply. The fast path touches one row by its key; the exact path loads the intervals near the batch and lets
`core.ledger` decide position by position.
"""

from __future__ import annotations

from aquasmart_cloud.core.accepting import Accepted, Span, implausible_rows, spans
from aquasmart_cloud.core.ledger import LIVE, Interval, Ledger, Piece, Verdict
from aquasmart_cloud.core.model import DISPUTED, Batch, Scale
from aquasmart_cloud.core.pricing import Rollups, by_minute
from aquasmart_cloud.core.timeline import MinuteRun

from . import entries as names
from .connection import Connection
from .entries import Entries
from .marks import Account, reach, store_extent

_EXTEND = (
    "UPDATE ledger_interval SET to_counts = ? WHERE station_id = ? AND meter_id = ? AND epoch = ? AND from_counts = ?"
)
_NEAR = (
    "SELECT from_counts, to_counts, ul_num, den, shift_counts, kind, stream, bucket_at FROM ledger_interval"
    " WHERE station_id = ?1 AND meter_id = ?2 AND epoch = ?3 AND from_counts <= ?5 AND from_counts >="
    " COALESCE((SELECT MAX(from_counts) FROM ledger_interval WHERE station_id = ?1 AND meter_id = ?2"
    " AND epoch = ?3 AND from_counts <= ?4), 0) ORDER BY from_counts"
)
_DELETE = "DELETE FROM ledger_interval WHERE station_id = ? AND meter_id = ? AND epoch = ? AND from_counts = ?"
_INSERT = (
    "INSERT INTO ledger_interval (station_id, meter_id, epoch, from_counts, to_counts, ul_num, den, shift_counts,"
    " kind, stream, bucket_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Booking:
    """One batch being booked into its account."""

    def __init__(
        self, connection: Connection, station_id: str, account: Account, batch: Batch, entries: Entries
    ) -> None:
        self._connection = connection
        self._station_id = station_id
        self._account = account
        self._batch = batch
        self._entries = entries

    def book(self, accepted: Accepted, runs: list[MinuteRun], rollups: Rollups) -> None:
        """Book the new rows' counts; what is newly covered goes into `rollups`, what does not fit gets a name."""
        account = self._account
        # A claim above the extent leaves a hole, also when the rows after it cover nothing.
        reach(self._connection, self._station_id, account, self._batch.stream, accepted.from_counts, self._entries)
        disputed = implausible_rows(self._batch, account.scale, accepted.first_row)
        found = spans(self._batch, accepted, disputed)
        if not found:
            return
        begins_at_end = found[0].from_counts + account.shift_counts == account.extent_through
        if begins_at_end and len(found) == 1 and found[0].kind == LIVE:
            self._extend(found[0], accepted, runs, rollups)
        else:
            self._book_exactly(found, accepted, runs, rollups)

    def _extend(self, span: Span, accepted: Accepted, runs: list[MinuteRun], rollups: Rollups) -> None:
        """The fast path. Nothing is covered above the extent, so all of the span is new: no interval is read.

        A repeated batch never comes here: its rows are below the mark, which moves in the same transaction.
        """
        account = self._account
        new, last = self._interval(span), account.last
        if last is not None and new.continues(last):
            key = (self._station_id, account.meter_id, account.root_epoch, last.from_counts)
            self._connection.execute(_EXTEND, (new.to_counts, *key))
        else:
            self._insert(new)
        account.extent_through = new.to_counts
        store_extent(self._connection, self._station_id, account)
        for bucket_at, volume_ul in by_minute(
            runs, accepted.positions, new, account.shift_counts, new.from_counts, new.to_counts
        ):
            rollups.add(bucket_at, volume_ul)

    def _book_exactly(self, found: list[Span], accepted: Accepted, runs: list[MinuteRun], rollups: Rollups) -> None:
        account = self._account
        low, high = found[0].from_counts + account.shift_counts, found[-1].to_counts + account.shift_counts
        ledger = Ledger(self._near(low, high))
        for span in found:
            wanted = self._interval(span, _minute_of(runs, span))
            for piece in ledger.book(wanted):
                self._take(piece, wanted, accepted, runs, rollups)
        stale, fresh = ledger.changes()
        key = (self._station_id, account.meter_id, account.root_epoch)
        self._connection.executemany(_DELETE, [(*key, counts) for counts in stale])
        for interval in fresh:
            self._insert(interval)
        if high > account.extent_through:
            account.extent_through = high
            store_extent(self._connection, self._station_id, account)

    def _take(
        self, piece: Piece, wanted: Interval, accepted: Accepted, runs: list[MinuteRun], rollups: Rollups
    ) -> None:
        """Put one piece into the rollups, or give it its name."""
        part = (piece.from_counts, piece.to_counts)
        price = piece.former or wanted
        volume_ul = price.volume_ul(*part)
        if piece.verdict is Verdict.OVERLAP:
            streams = {"stream": wanted.stream, "booked_by": price.stream}
            subject = f"{wanted.stream}:{price.stream}"
            self._entries.grow(names.OVERLAP, subject, self._account.place, part, volume_ul, streams)
            return
        if piece.verdict is Verdict.TAKEN_OVER:
            # The same volume leaves the stand-in's minute and enters the live rows': the sum stays.
            assert price.bucket_at is not None
            rollups.add(price.bucket_at, -volume_ul)
        else:
            self._entries.fill_holes(self._account.place, *part)
        disputed = wanted.kind == DISPUTED
        shift = self._account.shift_counts
        for bucket_at, share_ul in by_minute(runs, accepted.positions, price, shift, *part):
            rollups.add(bucket_at, share_ul, share_ul if disputed else 0)
        if disputed:
            detail = {"stream": wanted.stream}
            self._entries.grow(names.DISPUTED, wanted.stream, self._account.place, part, volume_ul, detail)

    def _interval(self, span: Span, bucket_at: int | None = None) -> Interval:
        shift = self._account.shift_counts
        return Interval(
            span.from_counts + shift,
            span.to_counts + shift,
            self._account.scale,
            shift,
            span.kind,
            self._batch.stream,
            None if span.kind == LIVE else bucket_at,
        )

    def _near(self, low: int, high: int) -> list[Interval]:
        """Every interval that touches or adjoins [low, high]: from the last that begins at or before it."""
        account = self._account
        rows = self._connection.execute(
            _NEAR, (self._station_id, account.meter_id, account.root_epoch, max(low - 1, 0), high)
        )
        return [
            Interval(start, end, Scale(ul_num, den), shift, kind, stream, bucket_at)
            for start, end, ul_num, den, shift, kind, stream, bucket_at in rows
        ]

    def _insert(self, interval: Interval) -> None:
        account = self._account
        start, end, scale, shift, kind, stream, bucket_at = interval
        key = (self._station_id, account.meter_id, account.root_epoch)
        self._connection.execute(_INSERT, (*key, start, end, *scale, shift, kind, stream, bucket_at))


def _minute_of(runs: list[MinuteRun], span: Span) -> int:
    """The minute of a span's first row."""
    return next(run.bucket_at for run in runs if run.start <= span.first_row < run.end)
