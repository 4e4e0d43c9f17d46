"""Every page version that a database file and its write-ahead log hold, read as bytes; never written.

For salvage: SQLite itself is not asked, so that nothing is recovered, checkpointed or refused on the way, and the files
stay as they were found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..core.sqlite_pages import (
    FRAME_HEADER_BYTES,
    WAL_HEADER_BYTES,
    Cell,
    Frame,
    Value,
    committed_frames,
    leaf_cells,
    record,
)
from .log_file import PAGE_BYTES

LARGEST_PAYLOAD_BYTES = 1 << 20
"""No row of ours comes near this; a damaged size may."""


class PageFile:
    """A context manager. Raises OSError where a file that is there cannot be read.

    `skip_unreadable`: a page that the disk cannot give is passed over instead, and counted.
    """

    def __init__(self, path: Path, *, skip_unreadable: bool = False) -> None:
        self._path, self._skip_unreadable = path, skip_unreadable
        self.unreadable = 0
        self._wal_path = path.with_name(path.name + "-wal")
        self._file: BinaryIO | None = None
        self._wal: BinaryIO | None = None
        self._frames: list[Frame] = []
        self._latest: dict[int, int] = {}
        self._pages = 0

    def __enter__(self) -> PageFile:
        if self._path.exists():
            self._file = self._path.open("rb")
            self._pages = -(-self._path.stat().st_size // PAGE_BYTES)
        if self._wal_path.exists():
            self._wal = self._wal_path.open("rb")
            self._frames = committed_frames(
                self._bytes(self._wal, 0, WAL_HEADER_BYTES), self._heads(self._wal), PAGE_BYTES
            )
            self._latest = {frame.number: frame.offset for frame in self._frames}
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._wal):
            if file is not None:
                file.close()

    @property
    def versions(self) -> int:
        return self._pages + len(self._frames)

    def cells(self, version: int) -> Iterator[Cell]:
        """The cells of one page version: the file's pages first, then the log's frames, in order."""
        if version < self._pages:
            page = self._read(self._file, version * PAGE_BYTES)
            return leaf_cells(page, first_page=version == 0)
        frame = self._frames[version - self._pages]
        return leaf_cells(self._read(self._wal, frame.offset), first_page=frame.number == 1)

    def values(self, cell: Cell) -> tuple[Value, ...] | None:
        """A cell's record, its overflow pages followed in their latest versions."""
        if not cell.overflow:
            return record(cell.local)
        if cell.size > LARGEST_PAYLOAD_BYTES:
            return None
        payload, number = bytearray(cell.local), cell.overflow
        while len(payload) < cell.size and number:
            page = self._latest_page(number)
            if not page:
                return None
            number = int.from_bytes(page[:4], "big")
            payload += page[4 : 4 + cell.size - len(payload)]
        return record(bytes(payload)) if len(payload) == cell.size else None

    def _latest_page(self, number: int) -> bytes:
        offset = self._latest.get(number)
        if offset is not None:
            return self._read(self._wal, offset)
        return self._read(self._file, (number - 1) * PAGE_BYTES)

    def _read(self, file: BinaryIO | None, offset: int) -> bytes:
        # A file cut within a page: what is left of it is still looked through.
        return b"" if file is None else self._bytes(file, offset, PAGE_BYTES).ljust(PAGE_BYTES, b"\0")

    def _bytes(self, file: BinaryIO, offset: int, size: int) -> bytes:
        try:
            return os.pread(file.fileno(), size, offset)
        except OSError:
            if not self._skip_unreadable:
                raise
            self.unreadable += 1
            return b""

    def _heads(self, wal: BinaryIO) -> Iterator[bytes]:
        step = FRAME_HEADER_BYTES + PAGE_BYTES
        for offset in range(WAL_HEADER_BYTES, os.fstat(wal.fileno()).st_size - FRAME_HEADER_BYTES + 1, step):
            yield self._bytes(wal, offset, FRAME_HEADER_BYTES)
