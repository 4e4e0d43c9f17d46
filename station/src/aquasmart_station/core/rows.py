"""Many contiguous rows of one stream as columns: what sync encodes by the hundred thousand a second. Pure.

A row object for each event costs more than everything else that is done to it; a column goes to the wire as it came
out of the log, and is a row again only where somebody asks for that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import sub
from typing import Any, overload

from .model import Row

Columns = tuple[tuple[Any, ...], ...]
"""The nine columns of `Row`, in its order."""


class Rows(Sequence[Row]):
    """Rows as columns. Equal to any sequence of the same rows."""

    __slots__ = ("columns",)

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return Rows(tuple(column[index] for column in self.columns))
        return Row._make(column[index] for column in self.columns)

    def __iter__(self) -> Iterator[Row]:
        return map(Row._make, zip(*self.columns, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


def columns_of(rows: Sequence[Row]) -> Columns:
    """The nine columns of rows in any form; at least one row."""
    return rows.columns if isinstance(rows, Rows) else tuple(zip(*rows, strict=True))


def contiguous(columns: Columns) -> bool:
    """Whether each row's seqs begin right behind those of the row before."""
    seq, seqs = columns[1], columns[2]
    return min(seqs) >= 1 and tuple(map(sub, seq[1:], seqs[1:])) == seq[:-1]


def _same(one: Row, other: object) -> bool:
    return one == other
