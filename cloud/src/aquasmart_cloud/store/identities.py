"""What is known for ever of foreign events: hash → number of the event (`row_identity`). This table's one writer.

Part of the intake transaction: every function takes its connection. Rows are added, never changed or deleted, so
that a repetition years later, after its event is gone by retention, still finds that it was counted.
"""

from __future__ import annotations

from .connection import Connection

_FIND = "SELECT event_seq FROM row_identity WHERE client_id = ? AND identity = ?"
_ADD = (
    "INSERT INTO row_identity (client_id, identity, event_seq) VALUES (?, ?, ?)"
    " ON CONFLICT (client_id, identity) DO NOTHING"
)


def find(connection: Connection, client_id: str, identity: bytes) -> int | None:
    """The number of the event that has this identity, or None."""
    row = connection.execute(_FIND, (client_id, identity)).fetchone()
    return None if row is None else int(row[0])


def remember(connection: Connection, client_id: str, event_seq: int, *known_by: bytes | None) -> None:
    """Know an event by these from now on. One that another event has already stays that one's."""
    for identity in known_by:
        if identity is not None:
            connection.execute(_ADD, (client_id, identity, event_seq))
