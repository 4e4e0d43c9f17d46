"""Sealing every stored secret anew under another master key, a portion at a time.

`SEALED` lists every column that holds one: a new table of secrets is one line here, and a test looks that none is
missing. Which key is which, and their files, are services.rekeying's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aquasmart_cloud.core.errors import SealError

from .connection import Connection
from .database import Database
from .keyring import Keys
from .sealing import seal, unseal
from .webhooks import seal_secret, unseal_secret

PORTION = 500
"""Rows in one transaction: other writers get their turn between."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of secrets, and how one of its values opens and is sealed, by its row's key."""

    table: str
    key: tuple[str, ...]
    column: str
    opened: Callable[..., bytes]
    sealed: Callable[..., bytes]
    """Both take the master key, the values of the row's key, and the value."""

    @property
    def page(self) -> str:
        """The next rows after a key."""
        names, marks = ", ".join(self.key), ", ".join("?" * len(self.key))
        return (
            f"SELECT {names}, {self.column} FROM {self.table} WHERE {self.column} IS NOT NULL"  # noqa: S608 (constants)
            f" AND ({names}) > ({marks}) ORDER BY {names} LIMIT ?"
        )

    @property
    def replace(self) -> str:
        """Another value in the place of exactly the one that was read."""
        where = " AND ".join(f"{name} = ?" for name in (*self.key, self.column))
        return f"UPDATE {self.table} SET {self.column} = ? WHERE {where}"  # noqa: S608

    @property
    def count(self) -> str:
        """How many there are."""
        return f"SELECT count(*) FROM {self.table} WHERE {self.column} IS NOT NULL"  # noqa: S608


SEALED: tuple[SealedColumn, ...] = (
    SealedColumn("station_key", ("station_id", "key_id"), "sealed", unseal, seal),
    SealedColumn("webhook", ("webhook_id",), "sealed", unseal_secret, seal_secret),
)


@dataclass(slots=True)
class Resealed:
    """What was found: sealed anew, sealed so already, and opened by no key that there is."""

    sealed: int = 0
    already: int = 0
    unreadable: list[str] = field(default_factory=list)


def reseal(database: Database, keys: Keys, progress: Progress = lambda *_: None) -> Resealed:
    """Seal everything under the current key. Harmless when repeated or broken off: each portion stands for itself.

    Each runs alone, so a value that somebody else is storing is either seen here or sealed after it. Errors:
    DatabaseError.
    """
    done = Resealed()
    for each in SEALED:
        with database.reading() as connection:
            total = int(connection.execute(each.count).fetchone()[0])
        place: Sequence[Any] = ("",) * len(each.key)
        passed = 0
        while True:
            with database.writing() as connection:
                rows = connection.execute(each.page, (*place, PORTION)).fetchall()
                for row in rows:
                    _reseal_one(connection, each, keys, row, done)
            passed += len(rows)
            progress(each.table, passed, max(total, passed))
            if len(rows) < PORTION:
                break
            place = tuple(rows[-1][:-1])
    return done


def _reseal_one(connection: Connection, column: SealedColumn, keys: Keys, row: Sequence[Any], done: Resealed) -> None:
    *key, value = row
    value = bytes(value)
    if _opens(column, keys.current, key, value) is not None:
        done.already += 1
        return
    for other in keys.former_and_coming:
        secret = _opens(column, other, key, value)
        if secret is not None:
            connection.execute(column.replace, (column.sealed(keys.current, *key, secret), *key, value))
            done.sealed += 1
            return
    done.unreadable.append(f"{column.table} {' '.join(map(str, key))}")


def unreadable(database: Database, keys: Keys) -> Iterator[str]:
    """What the current key does not open, for people; reads only. Errors: DatabaseError."""
    for each in SEALED:
        place: Sequence[Any] = ("",) * len(each.key)
        while True:
            with database.reading() as connection:
                rows = connection.execute(each.page, (*place, PORTION)).fetchall()
            for *key, value in rows:
                if _opens(each, keys.current, key, bytes(value)) is None:
                    yield f"{each.table} {' '.join(map(str, key))}"
            if len(rows) < PORTION:
                break
            place = tuple(rows[-1][:-1])


def _opens(column: SealedColumn, master_key: bytes, key: Sequence[Any], value: bytes) -> bytes | None:
    try:
        return column.opened(master_key, *key, value)
    except SealError:
        return None
