"""What every signed answer announces: the configuration that counts, the newest notice, an offer of a new key.

Three look-ups by key. Writes only when something is news: that it has been sent, or that a new key was used.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from . import config_documents, notices, rotation
from .database import Database


def announcements(database: Database, station_id: str, key_id: str, now_ms: int) -> dict[str, Any]:
    """`config`, `notice`, and `rotate` where a rotation is open. `key_id`: what this request was signed with; that of
    a new key confirms it. Errors: DatabaseError."""
    with database.reading() as connection:
        version, sha256, news = config_documents.announced(connection, station_id)
        number = notices.newest(connection, station_id)
        offer = rotation.pending(connection, station_id)
    used = offer is not None and offer.key_id == key_id
    if news or used:
        database.write(lambda connection: _note(connection, station_id, key_id, now_ms, news=news, used=used))
    found: dict[str, Any] = {"config": {"version": version, "sha256": sha256}, "notice": number}
    if offer is not None and not used:
        found["rotate"] = {"nonce": offer.nonce, "key_id": offer.key_id}
    return found


def _note(connection: sqlite3.Connection, station_id: str, key_id: str, now_ms: int, *, news: bool, used: bool) -> None:
    if news:
        config_documents.note_sent(connection, station_id, now_ms)
    if used:
        rotation.confirm(connection, station_id, key_id, now_ms)
