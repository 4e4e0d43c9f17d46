"""Taking in an exported log: verified whole, then through the very transaction that requests go through.

Two passes over the file. The first verifies every line and the manifest, and stores nothing; the second verifies again
and records. A bundle is therefore taken whole or not at all, except for streams that the cloud itself cannot take (it
lacks what is before their first event): those are named, the others go on. The five minutes of the network's replay
window do not apply: what was delivered is delivered once, whenever it comes (store.recording).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from aquasmart_cloud.core.bundle import INGEST, LONGEST_LINE_BYTES, BadBundle, Head, Request, read_head, read_requests
from aquasmart_cloud.core.decoding import decode_batch, inflate
from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.model import Batch
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.recording import SignedBody, record
from aquasmart_cloud.store.stations import Stations


@dataclass(slots=True)
class StreamResult:
    """What became of one stream of a bundle."""

    inserted: int = 0
    duplicates: int = 0
    refused: str = ""


@dataclass(slots=True)
class Imported:
    """What became of a bundle."""

    station_id: str
    key_id: str
    made_at: int
    requests: int = 0
    streams: dict[str, StreamResult] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "station_id": self.station_id,
            "key_id": self.key_id,
            "made_at": self.made_at,
            "requests": self.requests,
            "inserted": sum(each.inserted for each in self.streams.values()),
            "duplicates": sum(each.duplicates for each in self.streams.values()),
            "streams": [
                {
                    "stream": stream,
                    "inserted": each.inserted,
                    "duplicates": each.duplicates,
                    "refused": each.refused or None,
                }
                for stream, each in self.streams.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Permissions:
    """What an administrator allows by hand that the network never does."""

    revoked: bool = False
    retired: bool = False


def import_bundle(
    path: Path, database: Database, stations: Stations, clock_ms: Callable[[], int], allowed: Permissions
) -> Imported:
    """Verify a bundle, then record it. Errors: BadBundle, StationError, DatabaseError, OSError; nothing stored.

    After a DatabaseError in the midst of it, import the file again: what is stored is a duplicate then.
    """
    with _opened(path) as (head, first_line, lines):
        key = _key(stations, head, allowed)
        for request in read_requests(lines, first_line, head, key):
            _decode(request)
    imported = Imported(head.station_id, head.key_id, head.made_at)
    with _opened(path) as (again, first_line, lines):
        if again != head:
            raise BadBundle("the file changed while it was read", "copy it to a disk of its own first")
        for request in read_requests(lines, first_line, head, key):
            _record(request, head, database, clock_ms(), imported)
    return imported


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Head, bytes, Iterator[bytes]]]:
    with path.open("rb") as file:
        lines = _lines(file)
        first_line = next(lines, b"")
        yield read_head(first_line), first_line, lines


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines no longer than a bundle's may be: what is longer comes in pieces, and is refused as cut."""
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        yield line


def _key(stations: Stations, head: Head, allowed: Permissions) -> bytes:
    found = stations.find_key(head.station_id, head.key_id)
    if found is None:
        raise StationError(
            f"there is no key {head.key_id} of a station {head.station_id} here",
            "'aquasmart-cloud station list' shows the stations; was the bundle made for another cloud?",
        )
    if found.revoked and not allowed.revoked:
        raise StationError(
            f"key {head.key_id} of station {head.station_id} has been revoked",
            "whoever has a leaked key can write such a file; if you know where this one comes from: --allow-revoked",
        )
    if found.retired and not allowed.retired:
        raise StationError(
            f"station {head.station_id} has been retired",
            "its account is closed; to add to it all the same: --allow-retired",
        )
    return found.key


def _decode(request: Request) -> Batch:
    try:
        return decode_batch(inflate(request.body, request.encoding))
    except Refusal as refusal:
        raise BadBundle(
            f"a request in it is not what it should be: {refusal.detail}", "this is a fault of the station's software"
        ) from refusal


def _record(request: Request, head: Head, database: Database, now_ms: int, imported: Imported) -> None:
    batch = _decode(request)
    imported.requests += 1
    result = imported.streams.setdefault(batch.stream, StreamResult())
    if result.refused:
        return
    signed = SignedBody(
        head.station_id,
        head.key_id,
        request.timestamp_ms,
        INGEST,
        request.encoding,
        None,
        None,
        request.signature,
        request.body,
    )
    try:
        receipt = record(database, signed, batch, now_ms, secrets.token_hex(16), by_hand=True)
    except Refusal as refusal:
        result.refused = f"{refusal.type.code}: {refusal.detail}"
        return
    result.inserted += receipt.inserted
    result.duplicates += receipt.duplicates
