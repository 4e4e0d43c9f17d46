"""`GET /v1/config` and `GET /v1/notices?after=N`: what stations fetch when an answer has announced it."""

from __future__ import annotations

import re

from flask import Blueprint, Response, g, request

from aquasmart_cloud.core.errors import DatabaseError
from aquasmart_cloud.core.strict_json import invalid
from aquasmart_cloud.store import config_documents, notices
from aquasmart_cloud.store.announcing import announcements

from .answers import new_id
from .services import cloud
from .station_api import Caller, answer, unavailable

blueprint = Blueprint("config_api", __name__)

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


@blueprint.get("/v1/config")
def config() -> Response:
    """The document that counts for this station, with its version and hash."""
    caller: Caller = g.caller
    station_id, now_ms, database = caller.signed.station_id, cloud().clock_ms(), cloud().database
    try:
        with database.reading() as connection:
            found = config_documents.effective(connection, station_id)
        database.write(lambda connection: config_documents.note_fetched(connection, station_id, found.version, now_ms))
        more = announcements(database, station_id, caller.signed.key_id, now_ms)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    data = {
        "version": found.version,
        "sha256": found.sha256,
        "document": found.document,
        "set_by": found.set_by,
        "set_at": found.set_at,
    }
    return answer(new_id(), now_ms, data | more)


@blueprint.get("/v1/notices")
def notices_after() -> Response:
    """The notices above `after`, oldest first."""
    caller: Caller = g.caller
    text = request.args.get("after", "0")
    if not _NUMBER.fullmatch(text):
        raise invalid("after", "must be the number of a notice")
    station_id, now_ms, database, low = caller.signed.station_id, cloud().clock_ms(), cloud().database, int(text)
    try:
        with database.reading() as connection:
            found = notices.after(connection, station_id, low)
        if found:
            high = found[-1]["number"]
            database.write(lambda connection: notices.note_fetched(connection, station_id, low, high, now_ms))
        more = announcements(database, station_id, caller.signed.key_id, now_ms)
    except DatabaseError as error:
        raise unavailable(caller, error) from error
    return answer(new_id(), now_ms, {"notices": found} | more)
