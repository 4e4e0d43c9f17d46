"""The form of a row in log.db and its checksum: one at a time, or many by columns."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import repeat
from typing import Any
from uuid import UUID

from ..core.model import Row
from ..core.rows import Rows, contiguous

_PACKED = struct.Struct("<16sqqqqqqq")


def row_crc32(stream_id: UUID, row: Row) -> int:
    """CRC-32 over everything a row says, its stream's identity included, except where it lies in the file."""
    return row_crc32_of(stream_id.bytes, row)


def row_crc32_of(stream_id: bytes, row: Row) -> int:
    """The same for a caller that checks many rows of one stream."""
    packed = _PACKED.pack(stream_id, *row[1:8])
    return zlib.crc32(packed if row[8] is None else packed + row[8].encode())


def sound_row(stream_id: bytes, values: tuple[Any, ...]) -> Row | None:
    """A row from its nine columns and its checksum; None where that does not hold."""
    row = Row._make(values[:9])
    try:
        return row if row_crc32_of(stream_id, row) == values[9] else None
    except (struct.error, AttributeError, TypeError):
        return None  # a damaged record can hold any type


def sound_rows(stream_id: bytes, found: Sequence[tuple[Any, ...]]) -> Rows | None:
    """Rows of one stream as columns, if every checksum holds and each row begins where the one before ends; else None.

    The common case by far, and all of it without a statement of Python per row: a backlog's drain is bounded by this.
    Whoever gets None looks at the rows one by one.
    """
    columns = tuple(zip(*found, strict=True))
    try:
        sums = list(map(zlib.crc32, map(_PACKED.pack, repeat(stream_id), *columns[1:8])))
        if columns[8].count(None) != len(sums):
            # The CRC of what is appended goes on from the CRC of what was before.
            pairs = zip(sums, columns[8], strict=True)
            sums = [each if data is None else zlib.crc32(data.encode(), each) for each, data in pairs]
        sound = tuple(sums) == columns[9] and contiguous(columns)
    except (struct.error, AttributeError, TypeError):
        return None  # a damaged record can hold any type
    return Rows(columns[:9]) if sound else None
