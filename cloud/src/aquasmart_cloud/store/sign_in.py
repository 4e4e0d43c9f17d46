"""One-time sign-in links: a random token goes to a person, its SHA-256 and expiry into `sign_in_link`.

Making and using links lives here, and is this table's only writer; who may ask for one is the caller's affair.
"""

from __future__ import annotations

import hashlib
import secrets

from .database import Database

LIFETIME_MS = 15 * 60_000
"""A link that nobody opened within a quarter of an hour is worthless."""


def digest_of(token: str) -> str:
    """What is stored of a token: its SHA-256, hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_link(database: Database, now_ms: int) -> str:
    """A fresh token, good once and for LIFETIME_MS. Errors: DatabaseError."""
    token = secrets.token_urlsafe(32)
    with database.writing() as connection:
        connection.execute("DELETE FROM sign_in_link WHERE expires_at < ?", (now_ms,))
        connection.execute(
            "INSERT INTO sign_in_link (digest, expires_at) VALUES (?, ?)",
            (digest_of(token), now_ms + LIFETIME_MS),
        )
    return token


def use_link(database: Database, token: str, now_ms: int) -> bool:
    """Use a link up. True exactly once, before it expires. Errors: DatabaseError.

    The condition stands in the UPDATE itself, so that two requests at once cannot both succeed. Looking up by
    digest leaks no useful timing: an attacker does not choose the digest of an unknown random token.
    """
    with database.writing() as connection:
        used = connection.execute(
            "UPDATE sign_in_link SET used_at = ? WHERE digest = ? AND used_at IS NULL AND expires_at >= ?",
            (now_ms, digest_of(token), now_ms),
        )
        return used.rowcount == 1
