"""Rows in every table of the schema, made from the kinds of its columns alone: a table that is new is filled too."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, String, Table, Uuid, insert

from aquasmart_cloud.store import bulk
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.senders import NOW_MS

ROWS = 7
AWKWARD = ("", "'\"\\", "Å ü 水 🚰", "a\tb\nc\\N", "\\.", "NULL", "trailing ", "\x7f")
"""Texts that a careless copy changes."""


def fill(database: Database) -> None:
    """Seven rows a table, the last of them as empty as it may be."""
    with database.engine.begin() as connection:
        for table in bulk.tables():
            rows = [_row(table, number) for number in range(ROWS)]
            connection.execute(insert(table), rows)


def _row(table: Table, number: int) -> dict[str, Any]:
    chance = random.Random(f"{table.name} {number}")
    referring = {key.parent.name for key in table.foreign_keys}
    in_key = {column.name for column in table.primary_key.columns}
    row = {}
    for column in table.columns:
        unique = column.name in in_key or any(index.unique and column.name in index.columns for index in table.indexes)
        if column.name in referring or column.name in {"station_id", "client_id"}:
            row[column.name] = f"of-{number}"
        elif column.nullable and number == ROWS - 1:
            row[column.name] = None
        else:
            row[column.name] = _value(column, number, chance, unique=unique)
    return row


def _value(column: Column[Any], number: int, chance: random.Random, *, unique: bool) -> Any:
    kind = column.type
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, Integer):
        if column.name in {"received_at", "at"}:
            return NOW_MS - number * 40 * 86_400_000  # of several months
        return number if unique else chance.choice((0, -1, 1 << 58, -(1 << 58) - 1))  # their sum fits into 64 bits
    if isinstance(kind, Float):
        return chance.random()
    if isinstance(kind, Uuid):
        return UUID(int=chance.getrandbits(128))
    if isinstance(kind, LargeBinary):
        return bytes([number]) + chance.randbytes((kind.length or 32) - 1)
    assert isinstance(kind, String), f"{column}: say here what a value of {kind!r} looks like"
    text = f"{number} " if unique else AWKWARD[number]
    return text[: kind.length] if kind.length else text + "x" * chance.randrange(50)
