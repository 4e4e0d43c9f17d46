"""What is to be told to whom (`outbox`, whose one writer this is): written with what it tells, delivered afterwards.

Why nothing is lost and nothing is told in vain: a row is written in the transaction of what it tells. Whoever delivers
first claims it, by moving its due time and counting the attempt in one UPDATE that only one can win; one who dies
after that leaves a row that is due again after CLAIM_MS. So it is told at least once, always under the same
`delivery_id` and with the same body, by which the receiver knows a repetition.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from .connection import Connection
from .database import Database

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
STATES = (WAITING, DELIVERED, FAILED)
MAILTO = "mailto:"
CLAIM_MS = 45_000
"""Longer than the calls of a cycle may last."""
KEPT_MS = 30 * 86_400_000
"""How long what was delivered or failed is kept, to be shown."""
_MOST_SAID = 400

_COLUMNS = "delivery_id, target, kind, body, state, created_at, due_at, attempts, status, said, ended_at"
_ADD = f"INSERT INTO outbox ({_COLUMNS}) VALUES (?, ?, ?, ?, 'waiting', ?, ?, 0, NULL, NULL, NULL)"  # noqa: S608
_DUE = f"SELECT {_COLUMNS} FROM outbox WHERE state = 'waiting' AND due_at <= ? ORDER BY due_at LIMIT ?"  # noqa: S608
_CLAIM = (
    "UPDATE outbox SET due_at = ?, attempts = attempts + 1 WHERE delivery_id = ? AND state = 'waiting'"
    " AND due_at = ? AND attempts = ?"
)
_END = (
    "UPDATE outbox SET state = ?, due_at = ?, status = ?, said = ?, ended_at = ?, attempts = ?"
    " WHERE delivery_id = ? AND attempts = ?"
)
_POSTPONE = "UPDATE outbox SET due_at = ? WHERE target = ? AND state = 'waiting' AND due_at < ?"
_RETRY = (
    "UPDATE outbox SET state = 'waiting', due_at = ?, created_at = ?, attempts = 0, ended_at = NULL"
    " WHERE state = 'failed' AND delivery_id = ?"
)
_ONE = f"SELECT {_COLUMNS} FROM outbox WHERE delivery_id = ?"  # noqa: S608  (constants)
_PAGE = (
    f"SELECT {_COLUMNS} FROM outbox WHERE state IN (?, ?, ?) AND (created_at, delivery_id) < (?, ?)"  # noqa: S608
    " ORDER BY created_at DESC, delivery_id DESC LIMIT ?"
)
_FORGET = (
    "DELETE FROM outbox WHERE delivery_id IN (SELECT delivery_id FROM outbox WHERE created_at < ?"
    " AND state <> 'waiting' ORDER BY created_at LIMIT ?)"
)
_COUNTS = "SELECT state, COUNT(*), MIN(created_at) FROM outbox GROUP BY state"


class Delivery(NamedTuple):
    """One row: something that is to be told to one receiver. `target` is a webhook's id, or mailto:ADDRESS."""

    delivery_id: str
    target: str
    kind: str
    body: str
    state: str
    created_at: int
    due_at: int
    attempts: int
    status: int | None
    said: str | None
    ended_at: int | None

    def document(self) -> dict[str, Any]:
        """It for programs; what it tells as the receiver gets it."""
        found = dict(zip(self._fields, self, strict=True))
        return found | {"body": msgspec.Raw(self.body.encode())}


class Receiver(NamedTuple):
    """Who may be told: which kinds, all where there is none; people are spared what is for programs."""

    target: str
    kinds: frozenset[str]
    person: bool = False


class News(NamedTuple):
    """What is to be told: `event` such as alert.opened, of a kind of alert, with its document."""

    event: str
    kind: str
    document: Mapping[str, Any]
    for_people: bool = True


def put(connection: Connection, receivers: Sequence[Receiver], news: News, now_ms: int) -> int:
    """Write it for each receiver that wants its kind; how many."""
    wanting = [each for each in receivers if _wants(each, news)]
    for receiver in wanting:
        add(connection, receiver.target, news, now_ms)
    return len(wanting)


def add(connection: Connection, target: str, news: News, now_ms: int) -> str:
    """Write it for one receiver; the delivery's id."""
    delivery_id = str(uuid.uuid4())
    head = {"delivery_id": delivery_id, "event": news.event, "kind": news.kind, "created_at": now_ms}
    body = msgspec.json.encode(head | dict(news.document)).decode()
    connection.execute(_ADD, (delivery_id, target, news.kind, body, now_ms, now_ms))
    return delivery_id


def due(database: Database, now_ms: int, limit: int) -> list[Delivery]:
    """What is to be delivered now, the longest due first. Errors: DatabaseError."""
    with database.reading() as connection:
        return [Delivery(*row) for row in connection.execute(_DUE, (now_ms, limit)).fetchall()]


def claim(connection: Connection, found: Delivery, now_ms: int) -> Delivery | None:
    """Take it for one attempt; None where somebody else has."""
    values = (now_ms + CLAIM_MS, found.delivery_id, found.due_at, found.attempts)
    if connection.execute(_CLAIM, values).rowcount != 1:
        return None
    return found._replace(due_at=now_ms + CLAIM_MS, attempts=found.attempts + 1)


class Outcome(NamedTuple):
    """How an attempt ended: state, when it is due again, how many there were, what the receiver answered."""

    state: str
    due_at: int
    attempts: int
    status: int | None
    said: str
    ended_at: int | None


def end(connection: Connection, claimed: Delivery, outcome: Outcome) -> None:
    """Keep how an attempt ended, where no later one has begun."""
    values = (
        outcome.state,
        outcome.due_at,
        outcome.status,
        outcome.said[:_MOST_SAID],
        outcome.ended_at,
        outcome.attempts,
        claimed.delivery_id,
        claimed.attempts,
    )
    connection.execute(_END, values)


def postpone(connection: Connection, target: str, until_ms: int) -> None:
    """Let everything that waits for a receiver wait until then: it does not work now."""
    connection.execute(_POSTPONE, (until_ms, target, until_ms))


def retry(connection: Connection, delivery_id: str, now_ms: int) -> bool:
    """Try a failed one again, as if it were new; False where it has not failed."""
    return connection.execute(_RETRY, (now_ms, now_ms, delivery_id)).rowcount == 1


def load(database: Database, delivery_id: str) -> Delivery | None:
    """One delivery. Errors: DatabaseError."""
    with database.reading() as connection:
        row = connection.execute(_ONE, (delivery_id,)).fetchone()
    return None if row is None else Delivery(*row)


def page(database: Database, state: str, after: tuple[int, str] | None, limit: int) -> list[Delivery]:
    """Deliveries, newest first; '' is any state. Errors: DatabaseError."""
    states = (state, state, state) if state else STATES
    with database.reading() as connection:
        rows = connection.execute(_PAGE, (*states, *(after or ((1 << 63) - 1, "")), limit)).fetchall()
    return [Delivery(*row) for row in rows]


def forget(connection: Connection, now_ms: int, limit: int) -> int:
    """Let go of what ended long ago; how many."""
    return connection.execute(_FORGET, (now_ms - KEPT_MS, limit)).rowcount


def counts(connection: Connection) -> dict[str, tuple[int, int]]:
    """State → how many, and since when the oldest."""
    return {state: (number, oldest) for state, number, oldest in connection.execute(_COUNTS).fetchall()}


def _wants(receiver: Receiver, news: News) -> bool:
    if receiver.person and not news.for_people:
        return False
    return not receiver.kinds or news.kind in receiver.kinds
