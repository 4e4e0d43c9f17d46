"""Bundles as stored: what each is, and where its file lies. The only writer of `bundle`.

The row is written once the file is whole and durable under its final name, and marked as removed before the file goes:
whoever finds a row may send the file, and a crash between the two leaves a file that nobody is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.core.rollouts import RUNNING, Bundle

from .connection import Connection
from .database import Database

SUFFIX = ".raucb"

_COLUMNS = "sha256, size_bytes, version, number, compatible, verified, added_at, added_by"
_PUT = (
    f"INSERT INTO bundle ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET"  # noqa: S608
    " version = excluded.version, number = excluded.number, compatible = excluded.compatible,"
    " verified = excluded.verified, added_at = excluded.added_at, added_by = excluded.added_by, removed_at = NULL"
    " WHERE bundle.removed_at IS NOT NULL"
)
_FIND = f"SELECT {_COLUMNS} FROM bundle WHERE sha256 = ? AND removed_at IS NULL"  # noqa: S608  (constants)
_LIKE = f"SELECT {_COLUMNS} FROM bundle WHERE sha256 LIKE ? AND removed_at IS NULL ORDER BY sha256 LIMIT 2"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM bundle WHERE removed_at IS NULL ORDER BY added_at DESC, sha256"  # noqa: S608
_USED = "SELECT rollout_id FROM rollout WHERE sha256 = ? AND state = ? ORDER BY rollout_id LIMIT 1"
_REMOVE = "UPDATE bundle SET removed_at = ? WHERE sha256 = ? AND removed_at IS NULL"


class BundleError(CloudError):
    """A command about a bundle cannot be done."""


def file_of(folder: Path, sha256: str) -> Path:
    """Where the file of a bundle lies."""
    return folder / f"{sha256}{SUFFIX}"


def put(connection: Connection, bundle: Bundle) -> Bundle:
    """Know it from now on; one that is known already stays as it is. What is known then."""
    values = list(bundle)
    connection.execute(_PUT, values)
    found = find(connection, bundle.sha256)
    assert found is not None
    return found


def find(connection: Connection, sha256: str) -> Bundle | None:
    """One that has not been removed."""
    row = connection.execute(_FIND, (sha256,)).fetchone()
    return None if row is None else _bundle(row)


def named(connection: Connection, name: str) -> Bundle:
    """By its SHA-256 or the beginning of it. Errors: BundleError."""
    fit = 4 <= len(name) <= 64 and all(each in "0123456789abcdef" for each in name)
    rows = connection.execute(_LIKE, (f"{name}%",)).fetchall() if fit else []
    if len(rows) != 1:
        raise BundleError(
            f"{'several bundles begin' if rows else 'no bundle begins'} with {name[:64]!r}",
            "'aquasmart-cloud bundle list' shows those that there are; four digits or more name one",
        )
    return _bundle(rows[0])


def listed(database: Database) -> list[Bundle]:
    """Every bundle, the newest first. Errors: DatabaseError."""
    with database.reading() as connection:
        return [_bundle(row) for row in connection.execute(_ALL).fetchall()]


def forget(connection: Connection, bundle: Bundle, now_ms: int) -> None:
    """Offer it to nobody any more. Errors: BundleError while a roll-out of it runs."""
    used = connection.execute(_USED, (bundle.sha256, RUNNING)).fetchone()
    if used is not None:
        raise BundleError(
            f"roll-out {used[0]} offers this bundle", f"stop it first: 'aquasmart-cloud rollout stop {used[0]}'"
        )
    connection.execute(_REMOVE, (now_ms, bundle.sha256))


def _bundle(row: Any) -> Bundle:
    return Bundle._make((*row[:5], bool(row[5]), *row[6:]))
