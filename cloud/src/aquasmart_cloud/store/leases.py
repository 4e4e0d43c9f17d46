"""Who may do what only one may do: leases with a fencing number (`lease`). This table's one writer.

A lease expires by the database's own clock, so that hosts whose clocks differ agree about it. What makes it safe is
not the time but the fence: a number that grows at every takeover. Each transaction of the holder's begins with
`hold`, which fails unless the number is still its own, and keeps the lease's row locked until that transaction is
over: a takeover waits for it. So whatever a paused holder had read, nothing that it writes after a takeover is stored.
"""

from __future__ import annotations

from typing import NamedTuple

from aquasmart_cloud.core.errors import LeaseLost

from .connection import Connection
from .database import Database

WORKER = "worker"
LEASE_MS = 10_000

_SCOPE = ""
"""No station's id: what is written here belongs to none, so ingest need not wait for it (Database.writing)."""

_TAKE = (
    "INSERT INTO lease (name, holder, fence, taken_at, expires_at) VALUES (?, ?, 1, {now}, {now} + ?)"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, taken_at = excluded.taken_at,"
    " expires_at = excluded.expires_at"
    # Later than any lease that is held now could last: the clock was set back, and would keep everyone waiting.
    " WHERE lease.expires_at <= excluded.taken_at OR lease.expires_at > excluded.expires_at + ?"
)
_FENCE = "SELECT fence FROM lease WHERE name = ?"
_RENEW = "UPDATE lease SET expires_at = {now} + ? WHERE name = ? AND holder = ? AND fence = ?"
_RELEASE = "UPDATE lease SET expires_at = 0 WHERE name = ? AND holder = ? AND fence = ?"
_SHOW = "SELECT holder, fence, taken_at, expires_at, {now} FROM lease WHERE name = ?"


class Lease(NamedTuple):
    """A lease that was taken. `holder` is unique for each process: a restored backup may give out a number again."""

    name: str
    holder: str
    fence: int


class Held(NamedTuple):
    """A lease as anybody sees it; times are the database's (Unix ms)."""

    holder: str
    fence: int
    taken_at: int
    expires_at: int
    now_ms: int

    @property
    def valid(self) -> bool:
        """Whether it is held now."""
        return self.expires_at > self.now_ms


def take(database: Database, name: str, holder: str) -> Lease | None:
    """Take the lease where nobody holds it, or whoever does let it expire; None where somebody does.

    Errors: DatabaseError.
    """
    with database.writing(_SCOPE) as connection:
        taken = connection.execute(_TAKE.format(now=database.clock), (name, holder, LEASE_MS, LEASE_MS))
        if taken.rowcount != 1:
            return None
        return Lease(name, holder, int(connection.execute(_FENCE, (name,)).fetchone()[0]))


def hold(connection: Connection, clock: str, lease: Lease) -> None:
    """Within a transaction: the lease is ours until it ends, and renewed. `clock` is the database's.

    Errors: LeaseLost, for the caller's transaction to be rolled back by.
    """
    changed = connection.execute(_RENEW.format(now=clock), (LEASE_MS, *lease)).rowcount
    if changed != 1:
        raise LeaseLost(f"{lease.holder} holds the lease {lease.name!r} no more: another has taken it over")


def renew(database: Database, lease: Lease) -> None:
    """Hold it for another while. Errors: LeaseLost, DatabaseError."""
    with database.writing(_SCOPE) as connection:
        hold(connection, database.clock, lease)


def release(database: Database, lease: Lease) -> None:
    """Give it back, so that the next need not wait; nothing where it is another's already. Errors: DatabaseError."""
    with database.writing(_SCOPE) as connection:
        connection.execute(_RELEASE, lease)


def show(database: Database, name: str) -> Held | None:
    """Who holds it, or held it last; None where nobody ever did. Errors: DatabaseError."""
    with database.reading() as connection:
        row = connection.execute(_SHOW.format(now=database.clock), (name,)).fetchone()
    return None if row is None else Held(*row)
