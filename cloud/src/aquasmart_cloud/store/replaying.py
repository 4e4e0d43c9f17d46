"""A station's stored batches reckoned again, in the order in which they came, into a database of its own.

What ingest made of them (marks, epochs, intervals, rollups, totals, holes) must come out again, since it is the very
same code on the very same bodies; every signature is verified on the way. Reading and reckoning live here; what the
outcome is good for is `store.auditing` and `store.rebuilding`.

The order is the processing log's: it says of each request how far its stream went and what it inserted, and what it
inserted is one batch. Constant memory: a page of the log, one body, and a page of derived rows at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.model import Batch
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.signing import signing_prefix, verify

from . import migrating
from .connection import Connection
from .database import Database
from .recording import SignedBody, record_within
from .stations import Stations

_STATION = "SELECT name, created_at FROM station WHERE station_id = ?"
_COPY_STATION = (
    "INSERT INTO station (station_id, name, state, created_at, hardware_seen, events, volume_ul, disputed_ul)"
    " VALUES (?, ?, 'active', ?, '[]', 0, 0, 0)"
)
_LOG = (
    "SELECT log_id, detail FROM processing_log WHERE station_id = ? AND log_id > ? AND action IN ('ingest', 'import')"
    " ORDER BY log_id LIMIT 500"
)
_BATCH = (
    "SELECT through_seq, counts_through, received_at, key_id, timestamp_ms, target, encoding, idempotency_key,"
    " if_match, signature, body FROM batch WHERE station_id = ? AND stream = ? AND from_seq = ?"
)
_COUNT = "SELECT count(*) FROM batch WHERE station_id = ?"

Progress = Callable[[int, int], None]
"""Told how many batches were reckoned, and of how many."""

DERIVED: dict[str, str] = {
    "stream": "stream, meter_id, epoch, header, ul_num, den, opening_counts, mark_seq, mark_counts, hardware_id,"
    " software, clock, first_at, last_at",
    "epoch": "meter_id, epoch, identity, identity_strong, modulus, epoch_from, root_epoch, shift_counts,"
    " counts_through, opened_at",
    "ledger_interval": "meter_id, epoch, from_counts, to_counts, ul_num, den, shift_counts, kind, stream, bucket_at",
    "rollup": "meter_id, grain, bucket_at, volume_ul, disputed_ul, events",
}
"""What follows from the batches alone: table → its columns but the station."""
_KEYS: dict[str, tuple[str, ...]] = {
    "stream": ("stream",),
    "epoch": ("meter_id", "epoch"),
    "ledger_interval": ("meter_id", "epoch", "from_counts"),
    "rollup": ("meter_id", "grain", "bucket_at"),
}
_PAGE_ROWS = 1_000
NAMED = 20
"""Findings of one kind that are named; more are counted."""
TOTALS = "SELECT events, volume_ul, disputed_ul FROM station WHERE station_id = ?"
_HOLES = (
    "SELECT meter_id, epoch, from_counts, to_counts, volume_ul, state, entry_id FROM ledger_entry"
    " WHERE station_id = ? AND kind = 'hole' AND state <> 'closed'"
)


class Finding(NamedTuple):
    """Something that is not as it should be: what, where, and the particulars."""

    what: str
    where: str
    detail: str


class _Done(msgspec.Struct):
    """What the log says of a request."""

    stream: str
    through: int
    inserted: int


@dataclass(slots=True)
class Replay:
    """A station being reckoned again. `findings` grows; `batches` and `events` are those that were read."""

    database: Database
    stations: Stations
    scratch: Database
    station_id: str
    findings: list[Finding] = field(default_factory=list)
    batches: int = 0
    events: int = 0
    missing: int = 0
    _after: int = 0
    _expected: int | None = None
    _found: dict[str, int] = field(default_factory=dict)
    _keys: dict[str, bytes | None] = field(default_factory=dict)

    def catch_up(self, progress: Progress = lambda *_: None) -> None:
        """Reckon what the log has more than at the last call. Errors: DatabaseError, SealError."""
        if self._expected is None:
            self._expected = self.stored_batches()
        while True:
            with self.database.reading() as connection:
                page = connection.execute(_LOG, (self.station_id, self._after)).fetchall()
            if not page:
                return
            with self.scratch.writing() as reckoned:
                for log_id, detail in page:
                    self._after = log_id
                    done = msgspec.json.decode(detail, type=_Done)
                    if done.inserted:
                        self._reckon(reckoned, done)
            progress(self.batches, self._expected)

    def _find(self, what: str, where: str, detail: str) -> None:
        """Name a finding, or count it where enough of its kind are named: every signature may be wrong at once."""
        self._found[what] = self._found.get(what, 0) + 1
        if self._found[what] <= NAMED:
            self.findings.append(Finding(what, where, detail))

    def unnamed(self) -> list[Finding]:
        """How many more there were of each kind."""
        more = {what: number - NAMED for what, number in self._found.items() if number > NAMED}
        return [Finding(what, self.station_id, f"and {number} more") for what, number in more.items()]

    def _reckon(self, reckoned: Connection, done: _Done) -> None:
        from_seq = done.through - done.inserted + 1
        where = f"stream {done.stream}, seq {from_seq} to {done.through}"
        with self.database.reading() as connection:
            row = connection.execute(_BATCH, (self.station_id, done.stream, from_seq)).fetchone()
        if row is None:
            self.missing += 1
            return
        self.batches += 1
        self.events += done.inserted
        through, counts_through, received_at, *signed_part = row
        signed = self._signed(signed_part)
        key = self._key(signed.key_id)
        prefix = signing_prefix(
            str(signed.timestamp_ms),
            "POST",
            signed.target,
            self.station_id,
            signed.encoding,
            signed.idempotency_key,
            signed.if_match,
        )
        if key is None or not verify(key, prefix, signed.body, signed.signature):
            self._find("signature", where, f"it does not hold with key {signed.key_id}")
        batch = self._decoded(signed, where)
        if batch is None:
            return
        if (batch.stream, batch.through_seq, through) != (done.stream, done.through, done.through):
            said = f"the body reaches seq {batch.through_seq} of stream {batch.stream}, its row {through}"
            self._find("body", where, said)
        if batch.counts_through != counts_through:
            said = f"the body reaches position {batch.counts_through}, its row says {counts_through}"
            self._find("body", where, said)
        reckoned.execute("SAVEPOINT batch")
        try:
            receipt = record_within(reckoned, signed, batch, received_at)
        except Refusal as refusal:
            reckoned.execute("ROLLBACK TO batch")
            self._find("contiguity", where, f"{refusal.type.code}: {refusal.detail}")
        else:
            if receipt.inserted != done.inserted:
                said = f"it inserts {receipt.inserted} events now, {done.inserted} when it came"
                self._find("contiguity", where, said)
        reckoned.execute("RELEASE batch")

    def _signed(self, part: list[Any]) -> SignedBody:
        key_id, timestamp_ms, target, encoding, idempotency_key, if_match, signature, body = part
        return SignedBody(
            self.station_id,
            key_id,
            timestamp_ms,
            target,
            None if encoding == "-" else encoding,
            idempotency_key,
            if_match,
            "v1=" + signature.hex(),
            body,
        )

    def _decoded(self, signed: SignedBody, where: str) -> Batch | None:
        try:
            return decode_batch(inflate(signed.body, signed.encoding))
        except Refusal as refusal:
            self._find("body", where, f"{refusal.type.code}: {refusal.detail}")
            return None

    def _key(self, key_id: str) -> bytes | None:
        if key_id not in self._keys:
            found = self.stations.find_key(self.station_id, key_id)
            self._keys[key_id] = None if found is None else found.key
        return self._keys[key_id]

    def stored_batches(self) -> int:
        """How many batches the station has, whatever the log says."""
        with self.database.reading() as connection:
            return int(connection.execute(_COUNT, (self.station_id,)).fetchone()[0])


@contextmanager
def replay(database: Database, stations: Stations, station_id: str) -> Iterator[Replay]:
    """A replay on an empty scratch database, gone afterwards. Errors: StationError, DatabaseError."""
    with database.reading() as connection:
        station = connection.execute(_STATION, (station_id,)).fetchone()
    if station is None:
        raise StationError(f"there is no station {station_id}", "'aquasmart-cloud station list' shows those that are")
    with tempfile.TemporaryDirectory(prefix="aquasmart-replay-") as folder:
        scratch = Database(f"sqlite:///{Path(folder) / 'scratch.db'}")
        try:
            migrating.upgrade(scratch)
            with scratch.writing() as connection:
                connection.execute(_COPY_STATION, (station_id, *station))
            yield Replay(database, stations, scratch, station_id)
        finally:
            scratch.close()


def derived_rows(connection: Connection, table: str, station_id: str) -> Iterator[tuple[Any, ...]]:
    """A derived table's rows of one station, a page at a time, in the order of the key, alike in every database.

    Databases sort text differently, so it is sorted here; positions, times and UUIDs are sorted alike by all.
    """
    *first, last = _KEYS[table]
    groups: list[tuple[Any, ...]] = [()]
    if first:
        distinct = f"SELECT DISTINCT {', '.join(first)} FROM {table} WHERE station_id = ?"  # noqa: S608  (constants)
        found = connection.execute(distinct, (station_id,))
        groups = sorted(tuple(row) for row in found)
    place = DERIVED[table].split(", ").index(last)
    own = "".join(f" AND {name} = ?" for name in first)
    query = f"SELECT {DERIVED[table]} FROM {table} WHERE station_id = ?{own}"  # noqa: S608  (constants)
    for group in groups:
        page = connection.execute(f"{query} ORDER BY {last} LIMIT {_PAGE_ROWS}", (station_id, *group)).fetchall()
        while page:
            yield from map(tuple, page)
            more = f"{query} AND {last} > ? ORDER BY {last} LIMIT {_PAGE_ROWS}"
            page = connection.execute(more, (station_id, *group, page[-1][place])).fetchall()


class Holes(NamedTuple):
    """A station's holes by place and volume, each with its entry. `explained`: people have settled them."""

    open: dict[tuple[Any, ...], int]
    explained: dict[tuple[Any, ...], int]


def find_holes(connection: Connection, station_id: str) -> Holes:
    """The holes that are not closed."""
    found = Holes({}, {})
    for *hole, state, entry_id in connection.execute(_HOLES, (station_id,)):
        (found.open if state == "open" else found.explained)[tuple(hole)] = entry_id
    return found
