"""What the tables of store.schema are made of: their collection, and the kinds of column they have.

No table is defined here.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Text
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def station_column() -> Column[str]:
    return Column("station_id", String(64), nullable=False)


def integer(name: str, *, nullable: bool = False) -> Column[int]:
    """A 64-bit integer: counts, microlitres, milliseconds and sequence numbers alike."""
    return Column(name, BigInteger, nullable=nullable)


def text(name: str, *, nullable: bool = False, length: int | None = None) -> Column[str]:
    kind: TypeEngine[str] = Text() if length is None else String(length)
    return Column(name, kind, nullable=nullable)
