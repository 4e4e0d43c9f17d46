"""A batch that a station has sent: its key confirmed, its rows recorded, what there is to announce, in one transaction.

The key was looked up before its signature was verified, up to a second ago (docs/decisions/0048). Here it is read
again under the station's lock, in the round trip that reads the stream's mark: nothing is ever stored under a key that
was revoked, or for a station that was retired, before its transaction began.
"""

from __future__ import annotations

from typing import Any

from aquasmart_cloud.core.model import Batch
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.timeline import Timeline

from .announcing import ask_standing, note_told, read_standing
from .connection import Connection
from .database import Database
from .marks import ask_stream, read_stream
from .recording import Receipt, Recording, SignedBody
from .stations import refuse_unfit


def receive(
    database: Database, signed: SignedBody, batch: Batch, received_at: int, request_id: str
) -> tuple[Receipt, dict[str, Any]]:
    """Take a verified batch exactly once; the receipt, and what the answer announces.

    Errors: Refusal `revoked`, `retired`, and those of `recording.record`; DatabaseError. Nothing was stored then.
    """
    timeline = Timeline(batch, received_at)
    station_id, key_id = signed.station_id, signed.key_id

    def work(connection: Connection) -> tuple[Receipt, dict[str, Any]]:
        asked = ask_standing(connection, station_id, key_id), ask_stream(connection, station_id, batch.stream)
        standing = read_standing(connection, asked[0], station_id, key_id)
        # Before anything is refused: on SQLite a statement that is left half read keeps its snapshot, and this thread
        # would see the database as it is now for as long as the refusal's traceback lives.
        known = read_stream(asked[1])
        if standing is None:
            raise Refusal("bad-signature", "station, key or signature is not right")
        refuse_unfit(station_id, key_id, revoked=standing.revoked, retired=standing.retired)
        recording = Recording(connection, signed, batch, timeline, received_at)
        receipt = recording.run(known, request_id, by_hand=False)
        note_told(connection, station_id, key_id, standing, received_at)
        return receipt, standing.announced

    return database.write(work, station_id)
