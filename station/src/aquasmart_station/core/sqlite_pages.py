"""Pages of an SQLite file to records, for a log whose b-tree can no longer be walked.

Pure: bytes in, values out, by the published file format (sqlite.org/fileformat2.html §1.5–1.6, §2.1, §4). Only leaf
pages of tables are read, by themselves: which tree a page belonged to is not asked, so a damaged root or header costs
nothing but itself. Whether a record is one of ours, and true, the caller decides by its shape and checksum. Damage
never raises: what cannot be a cell or a record is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

FILE_HEADER_BYTES = 100
WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_LEAF = 0x0D
_WAL_MAGICS = (0x377F0682, 0x377F0683)
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)

Value = int | str | bytes | None


class Cell(NamedTuple):
    """One row of a table as its leaf page has it: what is on the page, and where the rest begins (0: nowhere)."""

    rowid: int
    size: int
    local: bytes
    overflow: int


class Frame(NamedTuple):
    """A page version in a write-ahead log: page number, and where its bytes begin in the file."""

    number: int
    offset: int


def leaf_cells(page: bytes, *, first_page: bool = False) -> Iterator[Cell]:
    """The cells of a table's leaf page; nothing for any other page."""
    start = FILE_HEADER_BYTES if first_page else 0
    if len(page) < start + 8 or page[start] != _LEAF:
        return
    number = int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = page[start + 8 : start + 8 + 2 * number]
    for index in range(0, len(pointers) - 1, 2):
        cell = _cell(page, pointers[index] << 8 | pointers[index + 1])
        if cell is not None:
            yield cell


def record(payload: bytes) -> tuple[Value, ...] | None:
    """The values of a record; None where it is none of integers, text and blobs in these very bytes."""
    try:
        header_size, place = _varint(payload, 0)
        body = header_size
        values: list[Value] = []
        while place < header_size:
            kind, place = _varint(payload, place)
            if kind == 0:
                values.append(None)
            elif kind <= 6:
                end = body + _INTEGER_BYTES[kind]
                if end > len(payload):
                    return None
                values.append(int.from_bytes(payload[body:end], "big", signed=True))
                body = end
            elif kind in {8, 9}:
                values.append(kind - 8)
            elif kind >= 12:
                end = body + (kind - 12) // 2
                if end > len(payload):
                    return None
                values.append(payload[body:end].decode() if kind % 2 else payload[body:end])
                body = end
            else:
                return None  # a float or a reserved type: none of our tables has any
    except (IndexError, UnicodeDecodeError):
        return None
    return tuple(values) if body == len(payload) else None


def committed_frames(header: bytes, heads: Iterator[bytes], page_bytes: int) -> list[Frame]:
    """The frames of a write-ahead log up to its last commit, in order; `heads` are the frames' 24-byte headers.

    Frames of an earlier turn of the log have other salts; frames after the last commit were never committed. Checksums
    of frames are not asked: a flipped bit costs the rows that it hit, by their own checksums, not all that follow.
    """
    if len(header) < WAL_HEADER_BYTES or int.from_bytes(header[:4], "big") not in _WAL_MAGICS:
        return []
    salts = header[16:24]
    frames: list[Frame] = []
    committed = 0
    for index, head in enumerate(heads):
        if len(head) < FRAME_HEADER_BYTES or head[8:16] != salts:
            continue
        number, size = struct.unpack_from(">II", head)
        offset = WAL_HEADER_BYTES + index * (FRAME_HEADER_BYTES + page_bytes) + FRAME_HEADER_BYTES
        frames.append(Frame(number, offset))
        if size:
            committed = len(frames)
    return frames[:committed]


def _cell(page: bytes, place: int) -> Cell | None:
    try:
        size, place = _varint(page, place)
        rowid, place = _varint(page, place)
    except IndexError:
        return None
    local = _local_bytes(size, len(page))
    rest = page[place : place + local]
    if len(rest) < local:
        return None
    if local == size:
        return Cell(rowid, size, rest, 0)
    return Cell(rowid, size, rest, int.from_bytes(page[place + local : place + local + 4], "big"))


def _local_bytes(size: int, page_bytes: int) -> int:
    """How much of a payload stands on the leaf page itself (fileformat2 §1.6)."""
    most = page_bytes - 35
    if size <= most:
        return size
    least = (page_bytes - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (page_bytes - 4)
    return fitting if fitting <= most else least


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = data[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    return value << 8 | data[place], place + 1
