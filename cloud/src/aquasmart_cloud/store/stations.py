"""Stations and their keys: making, showing, rotating, revoking, and the look-up that every request begins with.

Only the tables `station` and `station_key` are written here, and the totals of `station` never: those belong
to the ingest transaction.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from aquasmart_cloud.core.errors import StationError
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.signing import derived_key

from .connection import Connection
from .database import Database
from .keyring import MasterKeys
from .rotation import Agreed
from .sealing import seal, unseal

STATION_ID = re.compile(r"[a-z0-9-]{1,64}")
KEY_BYTES = 32

_INSERT_STATION = (
    "INSERT INTO station (station_id, name, state, created_at, hardware_seen, events, volume_ul, disputed_ul)"
    " VALUES (?, ?, 'active', ?, '[]', 0, 0, 0)"
)
_INSERT_KEY = "INSERT INTO station_key (station_id, key_id, sealed, created_at) VALUES (?, ?, ?, ?)"
_FIND_KEY = (
    "SELECT k.sealed, k.revoked_at, s.state FROM station_key k JOIN station s USING (station_id)"
    " WHERE k.station_id = ? AND k.key_id = ?"
)
_LIST = (
    "SELECT station_id, name, state, created_at, last_seen_at, hardware_id, events, volume_ul, disputed_ul"
    " FROM station ORDER BY station_id"
)
_KEYS = "SELECT key_id, created_at, revoked_at FROM station_key WHERE station_id = ? ORDER BY created_at, key_id"


@dataclass(frozen=True, slots=True)
class StationKey:
    """A key as a request's check needs it."""

    key: bytes = field(repr=False)
    revoked: bool
    retired: bool


def refuse_unfit(station_id: str, key_id: str, *, revoked: bool, retired: bool) -> None:
    """Errors: Refusal `revoked` or `retired`, for whoever has signed rightly with such a key."""
    if revoked:
        raise Refusal("revoked", f"key {key_id} has been revoked")
    if retired:
        raise Refusal("retired", f"station {station_id} has been retired")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `key` is its 64 hex digits, readable only now."""

    station_id: str
    key_id: str
    key: str = field(repr=False)


class Stations:
    """The stations of one database, with the master key that seals their keys."""

    def __init__(self, database: Database, master_key: bytes | MasterKeys) -> None:
        self._database = database
        self.keys = MasterKeys(master_key) if isinstance(master_key, bytes) else master_key

    def find_key(self, station_id: str, key_id: str) -> StationKey | None:
        """The key, or None where station or key is unknown. Read anew each time: revocation acts at once.

        Errors: DatabaseError; SealError where the master key is not the database's.
        """
        with self._database.reading() as connection:
            found = connection.execute(_FIND_KEY, (station_id, key_id)).fetchone()
        if found is None:
            return None
        sealed, revoked_at, state = found
        key = self.keys.open(lambda master_key: unseal(master_key, station_id, key_id, sealed))
        return StationKey(key, revoked_at is not None, state == "retired")

    def recent_key(self, station_id: str, key_id: str) -> StationKey | None:
        """The same, where it is good at most a second old: for whoever asks again in the transaction that depends on it
        (store.receiving). What a key's id stands for never changes. Errors: as of `find_key`.
        """
        return self._database.recent.get((station_id, key_id), lambda: self.find_key(station_id, key_id), _is_good)

    def add(self, station_id: str, name: str, now_ms: int) -> NewKey:
        """Make a station and its first key. Errors: StationError, DatabaseError."""
        if not STATION_ID.fullmatch(station_id):
            raise StationError(f"{station_id!r} cannot be a station id", "use 1 to 64 of the characters a-z, 0-9 and -")
        with self._database.writing() as connection:
            if _exists(connection, station_id):
                raise StationError(
                    f"station {station_id} is already there",
                    f"'aquasmart-cloud station rotate-key {station_id}' makes a second key for it",
                )
            connection.execute(_INSERT_STATION, (station_id, name or station_id, now_ms))
            return self._make_key(connection, station_id, now_ms)

    def rotate_key(self, station_id: str, now_ms: int) -> NewKey:
        """Add a second active key; the former one stays valid until it is revoked. Errors: StationError."""
        with self._database.writing() as connection:
            _require(connection, station_id)
            return self._make_key(connection, station_id, now_ms)

    def _make_key(self, connection: Connection, station_id: str, now_ms: int) -> NewKey:
        known = [row[0] for row in connection.execute(_KEYS, (station_id,))]
        key_id = f"k{len(known) + 1}"
        key = secrets.token_bytes(KEY_BYTES)
        sealed = seal(self.keys.for_sealing(), station_id, key_id, key)
        connection.execute(_INSERT_KEY, (station_id, key_id, sealed, now_ms))
        return NewKey(station_id, key_id, key.hex())

    def next_key_id(self, connection: Connection, station_id: str) -> str:
        """An id for a key that will be derived. It never comes again, also not in a cloud restored from a backup."""
        known = connection.execute(_KEYS, (station_id,)).fetchall()
        return f"k{len(known) + 1}-{secrets.token_hex(4)}"

    def add_derived(self, connection: Connection, station_id: str, agreed: Agreed, key_id: str, now_ms: int) -> bool:
        """Store the key that both sides derive, within the caller's transaction. True also where it is there already.

        False where the key that it would be derived from is unknown or revoked.
        """
        row = connection.execute(_FIND_KEY, (station_id, agreed.base_key_id)).fetchone()
        if row is None or row[1] is not None:
            return False
        if connection.execute(_FIND_KEY, (station_id, key_id)).fetchone() is None:
            base = self.keys.open(lambda master_key: unseal(master_key, station_id, agreed.base_key_id, row[0]))
            key = derived_key(base, agreed.cloud_nonce, agreed.station_nonce)
            sealed = seal(self.keys.for_sealing(), station_id, key_id, key)
            connection.execute(_INSERT_KEY, (station_id, key_id, sealed, now_ms))
        return True

    def revoke(self, station_id: str, key_id: str | None, now_ms: int) -> list[str]:
        """Revoke one key, or all that are active. Returns their ids. Errors: StationError."""
        with self._database.writing() as connection:
            _require(connection, station_id)
            active = [row[0] for row in connection.execute(_KEYS, (station_id,)) if row[2] is None]
            chosen = active if key_id is None else [key for key in active if key == key_id]
            if key_id is not None and not chosen:
                raise StationError(
                    f"station {station_id} has no active key {key_id}",
                    f"active: {', '.join(active) or 'none'}",
                )
            for each in chosen:
                connection.execute(
                    "UPDATE station_key SET revoked_at = ? WHERE station_id = ? AND key_id = ?",
                    (now_ms, station_id, each),
                )
        self._database.recent.forget()
        return chosen

    def retire(self, station_id: str) -> None:
        """Refuse everything the station sends from now on; what it sent stays. Errors: StationError."""
        with self._database.writing() as connection:
            _require(connection, station_id)
            connection.execute("UPDATE station SET state = 'retired' WHERE station_id = ?", (station_id,))
        self._database.recent.forget()

    def reinstate(self, station_id: str) -> None:
        """Take a retired station back: it finds out by itself within its quarter of an hour. Errors: StationError."""
        with self._database.writing() as connection:
            _require(connection, station_id)
            connection.execute("UPDATE station SET state = 'active' WHERE station_id = ?", (station_id,))

    def active(self) -> int:
        """How many stations there are, the retired left out. Errors: DatabaseError."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM station WHERE state = 'active'").fetchone()[0])

    def all(self) -> list[dict[str, Any]]:
        """Every station with its totals, by id."""
        with self._database.reading() as connection:
            cursor = connection.execute(_LIST)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def show(self, station_id: str) -> dict[str, Any]:
        """One station with its keys (never their secrets). Errors: StationError."""
        for found in self.all():
            if found["station_id"] == station_id:
                break
        else:
            raise _unknown(station_id)
        with self._database.reading() as connection:
            keys = [
                {"key_id": key_id, "created_at": created_at, "revoked_at": revoked_at}
                for key_id, created_at, revoked_at in connection.execute(_KEYS, (station_id,))
            ]
        return found | {"keys": keys}


def _is_good(found: StationKey | None) -> bool:
    return found is not None and not found.revoked and not found.retired


def _exists(connection: Connection, station_id: str) -> bool:
    return connection.execute("SELECT 1 FROM station WHERE station_id = ?", (station_id,)).fetchone() is not None


def _unknown(station_id: str) -> StationError:
    return StationError(
        f"there is no station {station_id}", "'aquasmart-cloud station list' shows those that there are"
    )


def _require(connection: Connection, station_id: str) -> None:
    if not _exists(connection, station_id):
        raise _unknown(station_id)
