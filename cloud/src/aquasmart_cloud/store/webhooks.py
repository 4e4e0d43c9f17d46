"""Webhooks: who is told by HTTP, and the secrets that sign it. The only writer of `webhook`.

Secrets are sealed under the master key, so that a stolen database signs nothing (store.sealing).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aquasmart_cloud.core.alert_kinds import KINDS, AlertError

from .connection import Connection
from .database import Database
from .keyring import MasterKeys
from .outbox import Receiver
from .sealing import seal, unseal

PREFIX = "w_"
SECRET_BYTES = 32
_SEAL = "webhook"
"""The second half of a secret's place (store.sealing); the first is the webhook's id, which no station can have."""

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_COLUMNS = "webhook_id, url, kinds, enabled, created_at"
_ADD = "INSERT INTO webhook (webhook_id, url, sealed, kinds, enabled, created_at) VALUES (?, ?, ?, ?, TRUE, ?)"
_ALL = f"SELECT {_COLUMNS} FROM webhook ORDER BY created_at, webhook_id"  # noqa: S608  (constants)
_ENABLED = "SELECT webhook_id, kinds FROM webhook WHERE enabled ORDER BY webhook_id"
_SEALED = "SELECT url, sealed FROM webhook WHERE webhook_id = ? AND enabled"
_ENABLE = "UPDATE webhook SET enabled = ? WHERE webhook_id = ?"
_REMOVE = "DELETE FROM webhook WHERE webhook_id = ?"


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as a delivery needs it."""

    url: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewHook:
    """A webhook that was just made; `secret` is 64 hex digits, readable only now."""

    webhook_id: str
    secret: str = field(repr=False)


def seal_secret(master_key: bytes, webhook_id: str, secret: bytes) -> bytes:
    """A secret, sealed for its row."""
    return seal(master_key, webhook_id, _SEAL, secret)


def unseal_secret(master_key: bytes, webhook_id: str, sealed: bytes) -> bytes:
    """The secret. Errors: SealError where the master key is another one."""
    return unseal(master_key, webhook_id, _SEAL, sealed)


class Webhooks:
    """The webhooks of one database, with the master key that seals their secrets."""

    def __init__(self, database: Database, master_key: bytes | MasterKeys) -> None:
        self._database = database
        self._keys = MasterKeys(master_key) if isinstance(master_key, bytes) else master_key

    def add(self, url: str, kinds: Sequence[str], now_ms: int) -> NewHook:
        """Make one, for these kinds of alerts or for all. Errors: AlertError, DatabaseError."""
        judge_url(url)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise AlertError(f"there are no alerts of kind {', '.join(unknown)}", f"the kinds are {', '.join(KINDS)}")
        webhook_id, secret = PREFIX + secrets.token_hex(6), secrets.token_bytes(SECRET_BYTES)
        text = msgspec.json.encode(sorted(set(kinds))).decode()
        with self._database.writing("") as connection:
            # Within the transaction: a change of the master key finds the row, or this finds the new key.
            sealed = seal_secret(self._keys.for_sealing(), webhook_id, secret)
            connection.execute(_ADD, (webhook_id, url, sealed, text, now_ms))
        return NewHook(webhook_id, secret.hex())

    def find(self, webhook_id: str) -> Hook | None:
        """Where and with what to deliver; None where it is gone or disabled. Errors: SealError, DatabaseError."""
        with self._database.reading() as connection:
            row = connection.execute(_SEALED, (webhook_id,)).fetchone()
        if row is None:
            return None
        url, sealed = row[0], bytes(row[1])
        return Hook(url, self._keys.open(lambda master_key: unseal_secret(master_key, webhook_id, sealed)))

    def all(self) -> list[dict[str, Any]]:
        """Every webhook, without its secret. Errors: DatabaseError."""
        with self._database.reading() as connection:
            rows = connection.execute(_ALL).fetchall()
        return [
            {
                "webhook_id": row[0],
                "url": row[1],
                "kinds": msgspec.json.decode(row[2]),
                "enabled": bool(row[3]),
                "created_at": row[4],
            }
            for row in rows
        ]

    def enable(self, webhook_id: str, *, enabled: bool) -> None:
        """Begin or stop telling it; what waits for it goes on waiting. Errors: AlertError, DatabaseError."""
        with self._database.writing("") as connection:
            if connection.execute(_ENABLE, (enabled, webhook_id)).rowcount != 1:
                raise _unknown(webhook_id)

    def remove(self, webhook_id: str) -> None:
        """Forget it and its secret; what waits for it fails at its next attempt. Errors: AlertError, DatabaseError."""
        with self._database.writing("") as connection:
            if connection.execute(_REMOVE, (webhook_id,)).rowcount != 1:
                raise _unknown(webhook_id)

    def require(self, webhook_id: str) -> None:
        """Errors: AlertError where there is no such webhook, DatabaseError."""
        if webhook_id not in {each["webhook_id"] for each in self.all()}:
            raise _unknown(webhook_id)


def receivers(connection: Connection) -> list[Receiver]:
    """The webhooks that are told, for store.outbox; read in the transaction that writes what they are told."""
    rows = connection.execute(_ENABLED).fetchall()
    return [Receiver(row[0], frozenset(msgspec.json.decode(row[1]))) for row in rows]


def judge_url(url: str) -> None:
    """Errors: AlertError for what is no address of a webhook; where it leads is judged at each delivery."""
    hint = "write it as https://alerts.example.org/hook"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise AlertError(f"{url!r} is no address of a webhook: {fault}", hint) from fault
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
        raise AlertError(f"{url!r} is no address of a webhook", hint)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AlertError("a webhook's address holds no user, password or fragment", "the signature is its password")
    if len(url) > 2_000 or not url.isascii() or any(each.isspace() or not each.isprintable() for each in url):
        raise AlertError("a webhook's address is at most 2,000 printable ASCII characters", hint)


def _unknown(webhook_id: str) -> AlertError:
    return AlertError(f"there is no webhook {webhook_id}", "'aquasmart-cloud webhook list' shows those there are")
