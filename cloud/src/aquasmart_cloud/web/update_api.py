"""`GET /v1/update`, `GET /v1/bundles/{sha256}`: what a station is offered, and the bundle (docs/protocol.md §10).

A piece of up to SIGNED_BYTES is read and signed like any answer, so that what was changed on the way is fetched again
at once. Anything longer is streamed as it lies on the disk and is not signed: its SHA-256 is in the signed offer.
Whoever receives slowly holds a thread meanwhile, so only some threads do this at a time: batches are taken first.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flask import Blueprint, Response, g, request
from werkzeug.http import parse_range_header
from werkzeug.wsgi import wrap_file

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.rollouts import SHA256, Offer
from aquasmart_cloud.store import bundles, rollouts, zones
from aquasmart_cloud.store.announcing import announcements

from .answers import log, new_id, problem
from .services import cloud
from .station_api import Caller, answer, unavailable

UPDATE = "/v1/update"
BUNDLES = "/v1/bundles/"
SIGNED_BYTES = 1 << 20
_PIECE_BYTES = 64 * 1024
_AT_ONCE = 3
"""Of the eight threads of a process."""
_RETRY_S, _RETRY_SPREAD_S = 5, 20

blueprint = Blueprint("update_api", __name__)
_places = threading.BoundedSemaphore(_AT_ONCE)


@blueprint.get(UPDATE)
def update() -> Response:
    """What this station is offered, if anything."""
    caller: Caller = g.caller
    station_id, now_ms, database = caller.signed.station_id, cloud().clock_ms(), cloud().database
    try:
        with database.reading() as connection:
            found = rollouts.offered(connection, station_id)
        offer, first = found or (None, False)
        if offer is not None and first and not offer.stopped:
            rollout_id = offer.rollout_id
            database.write(
                lambda connection: rollouts.note_offered(connection, station_id, rollout_id, now_ms), station_id
            )
        more = announcements(database, station_id, caller.signed.key_id, now_ms)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    said = None if offer is None else offer.document(zones.offset_minutes(offer.time_zone, now_ms))
    return answer(new_id(), now_ms, {"update": said} | more)


@blueprint.get(f"{BUNDLES}<sha256>")
def bundle(sha256: str) -> Response:
    """The bundle that this station is offered, whole or a range of it."""
    caller: Caller = g.caller
    offer = _offered(caller, sha256)
    if not _places.acquire(blocking=False):
        wait_s = _RETRY_S + zlib.crc32(caller.signed.station_id.encode()) % _RETRY_SPREAD_S
        raise Refusal("unavailable", "others are fetching just now; come back", retry_after_s=wait_s)
    file: _Held | None = None
    try:
        file = _Held(bundles.file_of(cloud().config.updates.folder, sha256))
        made = _ranged(file, os.fstat(file.fileno()).st_size, f'"{offer.bundle.sha256}"')
    except OSError as error:
        log.error("the bundle %s cannot be read: %s", sha256, error.strerror)
        raise Refusal("unavailable", "the bundle cannot be read now", retry_after_s=60) from error
    finally:
        if file is None:
            _places.release()
    return made


class _Held(io.FileIO):
    """A file whose being open takes one of the places; however the answer ends, closing it gives that back."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")

    def close(self) -> None:
        """Once, whoever closes: the server, a generator's end, or the collector."""
        if not self.closed:
            super().close()
            _places.release()


def _offered(caller: Caller, sha256: str) -> Offer:
    """The station's offer, where it is of this bundle. Errors: Refusal."""
    try:
        with cloud().database.reading() as connection:
            found = rollouts.offered(connection, caller.signed.station_id)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    if found is None or not SHA256.fullmatch(sha256) or found[0].bundle.sha256 != sha256 or found[0].stopped:
        raise Refusal("not-found", "this bundle is not offered to this station")
    return found[0]


def _ranged(file: _Held, size_bytes: int, etag: str) -> Response:
    """200 with the whole file, 206 with a range of it, 416 for a range that it does not have."""
    span = _span(size_bytes, etag)
    if span is None:
        made = _streamed(Response(wrap_file(request.environ, file, _PIECE_BYTES), direct_passthrough=True), size_bytes)
    elif span[0] >= span[1]:
        file.close()
        made = problem(Refusal("no-range", f"the bundle has {size_bytes} bytes"))
        made.headers["Content-Range"] = f"bytes */{size_bytes}"
        return made
    else:
        begin, end = span
        file.seek(begin)
        if end - begin <= SIGNED_BYTES:
            with closing(file):
                made = Response(_exactly(file, end - begin), 206)
        else:
            made = _streamed(Response(_pieces(file, end - begin), 206), end - begin)
            made.call_on_close(file.close)
        made.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size_bytes}"
    made.headers["Content-Type"] = "application/vnd.rauc"
    made.headers["Accept-Ranges"] = "bytes"
    made.headers["ETag"] = etag
    made.headers["Cache-Control"] = "no-transform"
    return made


def _streamed(made: Response, length: int) -> Response:
    """Passed on as it is read, unsigned."""
    made.content_length = length
    g.unsigned = True
    return made


def _span(size_bytes: int, etag: str) -> tuple[int, int] | None:
    """The one range asked for, its end excluded; empty where there is no such part; None for the whole: none asked,
    several, or of another version."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != etag:
        return None
    asked = parse_range_header(request.headers.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    found = asked.range_for_length(size_bytes)
    return (0, 0) if found is None else found


def _exactly(file: _Held, length: int) -> bytes:
    """So many bytes; fewer only at the end of the file."""
    parts: list[bytes] = []
    while length > 0 and (piece := file.read(length)):
        parts.append(piece)
        length -= len(piece)
    return b"".join(parts)


def _pieces(file: _Held, length: int) -> Iterator[bytes]:
    with closing(file):
        while length > 0 and (piece := file.read(min(_PIECE_BYTES, length))):
            length -= len(piece)
            yield piece
