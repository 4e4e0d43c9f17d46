"""What every signed answer announces: the configuration that counts, the newest notice, an offer of a new key.

One look-up by key, over tables that others write (config_documents, notices, rotation, stations). Writes only when
something is news: that it has been sent, or that a new key was used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import config_documents, rotation
from .config_documents import NOTHING
from .connection import Connection, Cursor
from .database import Database

_STANDING = (
    "SELECT k.revoked_at, t.state, c.version, c.sha256, c.sent_at,"
    " (SELECT COUNT(*) FROM config_document d WHERE c.station_id IS NULL"
    " AND (d.scope = 'fleet' OR (d.scope = 'station' AND d.subject = t.station_id))),"
    " (SELECT COALESCE(MAX(n.number), 0) FROM notice n WHERE n.station_id = t.station_id), r.key_id, r.nonce"
    " FROM station t JOIN station_key k ON k.station_id = t.station_id"
    " LEFT JOIN station_config c ON c.station_id = t.station_id"
    " LEFT JOIN key_rotation r ON r.station_id = t.station_id AND r.confirmed_at IS NULL"
    " WHERE t.station_id = ? AND k.key_id = ?"
)


class Standing(NamedTuple):
    """How a station and the key it signed with stand, and what there is to tell it."""

    revoked: bool
    retired: bool
    announced: dict[str, Any]
    news: bool
    """The configuration has not been announced before."""
    used: bool
    """The key is one that was offered: it is in use now."""


def ask_standing(connection: Connection, station_id: str, key_id: str) -> Cursor:
    """Ask, for `read_standing`: between the two, other questions may join the same round trip."""
    return connection.execute(_STANDING, (station_id, key_id))


def read_standing(connection: Connection, asked: Cursor, station_id: str, key_id: str) -> Standing | None:
    """`config`, `notice`, and `rotate` where a rotation is open; None where there is no such key."""
    rows = asked.fetchall()
    if not rows:
        return None
    revoked_at, state, version, sha256, sent_at, documents, notice, offered, nonce = rows[0]
    news = version is not None and sent_at is None
    if version is None:
        # A station that was added after the fleet's document has it to be merged; most such have nothing.
        version, sha256 = NOTHING.version, NOTHING.sha256
        if documents:
            version, sha256, news = config_documents.announced(connection, station_id)
    announced: dict[str, Any] = {"config": {"version": version, "sha256": sha256}, "notice": notice}
    used = offered is not None and offered == key_id
    if offered is not None and not used:
        announced["rotate"] = {"nonce": nonce, "key_id": offered}
    return Standing(revoked_at is not None, state == "retired", announced, news, used)


def note_told(connection: Connection, station_id: str, key_id: str, standing: Standing, now_ms: int) -> None:
    """Keep what has become of it with this answer: nothing, as a rule."""
    if standing.news:
        config_documents.note_sent(connection, station_id, now_ms)
    if standing.used:
        rotation.confirm(connection, station_id, key_id, now_ms)


def announcements(database: Database, station_id: str, key_id: str, now_ms: int) -> dict[str, Any]:
    """`config`, `notice`, and `rotate` where a rotation is open. `key_id`: what this request was signed with; that of
    a new key confirms it. Errors: DatabaseError."""
    with database.reading() as connection:
        asked = ask_standing(connection, station_id, key_id)
        standing = read_standing(connection, asked, station_id, key_id)
    if standing is None:
        return {"config": {"version": NOTHING.version, "sha256": NOTHING.sha256}, "notice": 0}
    if standing.news or standing.used:
        database.write(lambda connection: note_told(connection, station_id, key_id, standing, now_ms), station_id)
    return standing.announced
