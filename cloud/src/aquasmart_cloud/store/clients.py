"""Clients of the intake: systems that send foreign events with a token. Making, finding, changing, revoking.

The one writer of `client`. Of a token only the SHA-256 is stored: it is long and random, so a slow hash would add
nothing. A token begins with the client's id, so that it is found by key and compared once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aquasmart_cloud.core.errors import ClientError, StationError
from aquasmart_cloud.core.normalising.reading import MAX_EVENTS
from aquasmart_cloud.core.normalising.rules import Rules, mapping_faults
from aquasmart_cloud.core.policy import Rate
from aquasmart_cloud.core.signing import same

from .connection import Connection
from .database import Database

PREFIX = "c_"
"""No station's id has an underscore: the ids of clients and stations never meet."""
MOST_BYTES = 1024 * 1024
LARGEST_BYTES = 8 * 1024 * 1024

_CLIENT_ID = re.compile(r"c_[a-z0-9-]{1,60}")
_NOBODY = bytes(32)
_COLUMNS = (
    "client_id, name, token_hash, state, date_order, decimal_mark, mapping, most_events, most_bytes, created_at,"
    " rate_limit"
)
_ADD = (
    f"INSERT INTO client ({_COLUMNS})"  # noqa: S608  (constants)
    " VALUES (?, ?, ?, 'active', 'dmy', '.', '{\"fields\":{},\"defaults\":{}}', ?, ?, ?, NULL)"
    " ON CONFLICT (client_id) DO NOTHING"
)
_FIND = f"SELECT {_COLUMNS} FROM client WHERE client_id = ?"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM client ORDER BY client_id"  # noqa: S608
_CHANGE = (
    "UPDATE client SET name = ?, date_order = ?, decimal_mark = ?, mapping = ?, most_events = ?, most_bytes = ?,"
    " rate_limit = ?"
    " WHERE client_id = ?"
)


@dataclass(frozen=True, slots=True)
class Client:
    """One client, with the rules by which its events are read."""

    client_id: str
    name: str
    state: str
    rules: Rules
    most_events: int
    most_bytes: int
    created_at: int
    rate_limit: str | None = None
    """How many requests it may send, as `600/minute`; None: no limit."""

    @property
    def rate(self) -> Rate | None:
        """The limit as figures."""
        return None if self.rate_limit is None else Rate.parse(self.rate_limit)

    def document(self) -> dict[str, Any]:
        """As shown to people; never the token."""
        return {
            "client_id": self.client_id,
            "name": self.name,
            "state": self.state,
            "date_order": self.rules.date_order,
            "decimal_mark": self.rules.decimal_mark,
            "mapping": {"fields": dict(self.rules.fields), "defaults": dict(self.rules.defaults)},
            "most_events": self.most_events,
            "most_bytes": self.most_bytes,
            "rate_limit": self.rate_limit,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, readable only now."""

    client_id: str
    token: str = field(repr=False)


class Clients:
    """The clients of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_by_token(self, token: str) -> Client | None:
        """Whose token this is, revoked or not, or None. Read anew each time: a change acts at once.

        Errors: DatabaseError.
        """
        client_id = token.partition(".")[0]
        row = None
        if _CLIENT_ID.fullmatch(client_id):
            with self._database.reading() as connection:
                row = connection.execute(_FIND, (client_id,)).fetchone()
        # An unknown client costs as much as a known one.
        holds = same(_hash(token), _NOBODY if row is None else bytes(row[2]))
        return _client(row) if holds and row is not None else None

    def add(self, name: str, now_ms: int) -> NewToken:
        """Make a client, called after its name. Errors: ClientError, DatabaseError."""
        client_id = PREFIX + _slug(name)
        if not _CLIENT_ID.fullmatch(client_id) or len(name) > 200 or not name.isprintable():
            raise ClientError(f"{name!r} cannot name a client", "use a name with Latin letters or digits, up to 60")
        new = _new_token(client_id)
        with self._database.writing() as connection:
            row = (client_id, name, _hash(new.token), MAX_EVENTS, MOST_BYTES, now_ms)
            if connection.execute(_ADD, row).rowcount != 1:
                raise ClientError(
                    f"there is a client {client_id} already",
                    f"'aquasmart-cloud client new-token {client_id}' replaces its token",
                )
        return new

    def new_token(self, client_id: str) -> NewToken:
        """Replace a client's token; the former one is worthless at once. Revives a revoked client."""
        new = _new_token(client_id)
        with self._database.writing() as connection:
            _require(connection, client_id)
            connection.execute(
                "UPDATE client SET token_hash = ?, state = 'active' WHERE client_id = ?", (_hash(new.token), client_id)
            )
        return new

    def revoke(self, client_id: str) -> None:
        """Refuse a client's requests from now on. What it sent stays. Errors: ClientError."""
        with self._database.writing() as connection:
            _require(connection, client_id)
            connection.execute("UPDATE client SET state = 'revoked' WHERE client_id = ?", (client_id,))

    def change(self, client_id: str, changes: dict[str, Any]) -> Client:
        """Change how a client's events are read, or its limits; acts on its next request.

        `changes` has any of name, date_order, decimal_mark, mapping, most_events, most_bytes, rate_limit.
        Errors: ClientError naming everything that is wrong with them; DatabaseError.
        """
        with self._database.writing() as connection:
            former = _require(connection, client_id).document()
            wanted = former | changes
            faults = [f"{name!r} is no setting of a client" for name in sorted(changes.keys() - _SETTINGS)]
            faults += _faults(wanted)
            if faults:
                raise ClientError("; ".join(faults), f"settings are {', '.join(sorted(_SETTINGS))}")
            mapping = msgspec.json.encode(_mapping(wanted["mapping"])).decode()
            values = (wanted["name"], wanted["date_order"], wanted["decimal_mark"], mapping)
            limits = (wanted["most_events"], wanted["most_bytes"], wanted["rate_limit"])
            connection.execute(_CHANGE, (*values, *limits, client_id))
            return _require(connection, client_id)

    def show(self, client_id: str) -> Client:
        """One client. Errors: ClientError, DatabaseError."""
        with self._database.reading() as connection:
            return _require(connection, client_id)

    def rules(self, client_id: str) -> Rules:
        """How a sender's events are read: a client's own rules, or those of stations that sign. Errors: ClientError."""
        return self.show(client_id).rules if client_id.startswith(PREFIX) else signed_rules(client_id)

    def all(self) -> list[Client]:
        """Every client, by id. Errors: DatabaseError."""
        with self._database.reading() as connection:
            return [_client(row) for row in connection.execute(_ALL).fetchall()]


def signed_rules(station_id: str) -> Rules:
    """Of the form `{"id", "timestamp", "volume"}` that stations sign: a volume is an amount of water, in litres."""
    return Rules(station_id, fields={"volume": "amount"}, defaults={"metric": "volume", "station": station_id})


_SETTINGS = frozenset({"name", "date_order", "decimal_mark", "mapping", "most_events", "most_bytes", "rate_limit"})


def _faults(wanted: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a client's settings."""
    name = wanted["name"]
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        yield "name must be a text of 1 to 200 characters, all printable"
    if wanted["date_order"] not in ("dmy", "mdy"):
        yield "date_order must be dmy or mdy"
    if wanted["decimal_mark"] not in (".", ","):
        yield "decimal_mark must be . or ,"
    for limit, most in (("most_events", MAX_EVENTS), ("most_bytes", LARGEST_BYTES)):
        value = wanted[limit]
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            yield f"{limit} must be a whole number from 1 to {most}"
    rate_limit = wanted["rate_limit"]
    if rate_limit is not None:
        try:
            Rate.parse(rate_limit if isinstance(rate_limit, str) else "")
        except StationError as error:
            yield f"rate_limit: {error.hint}, or null for none"
    mapping = wanted["mapping"]
    if not isinstance(mapping, dict) or mapping.keys() - {"fields", "defaults"}:
        yield "mapping must be an object of 'fields' and 'defaults'"
    else:
        yield from mapping_faults(mapping.get("fields", {}), mapping.get("defaults", {}))


def _mapping(given: dict[str, Any]) -> dict[str, Any]:
    return {"fields": given.get("fields", {}), "defaults": given.get("defaults", {})}


def _client(row: Any) -> Client:
    client_id, name, _, state, date_order, decimal_mark, mapping, most_events, most_bytes, created_at, rate = row
    found = msgspec.json.decode(mapping)
    rules = Rules(client_id, date_order, decimal_mark, found["fields"], found["defaults"])
    return Client(client_id, name, state, rules, most_events, most_bytes, created_at, rate)


def _require(connection: Connection, client_id: str) -> Client:
    row = connection.execute(_FIND, (client_id,)).fetchone()
    if row is None:
        raise ClientError(f"there is no client {client_id}", "'aquasmart-cloud client list' shows those that there are")
    return _client(row)


def _new_token(client_id: str) -> NewToken:
    return NewToken(client_id, f"{client_id}.{secrets.token_urlsafe(32)}")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _slug(name: str) -> str:
    """A name as part of an id: plain letters, digits, hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
