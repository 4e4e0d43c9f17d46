"""Pages of a database to records: what SQLite wrote is read, what nobody wrote never raises."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.sqlite_pages import (
    FRAME_HEADER_BYTES,
    WAL_HEADER_BYTES,
    Frame,
    committed_frames,
    leaf_cells,
    record,
)

PAGE = 1024
INTEGERS = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-300, 300))
VALUES = st.one_of(st.none(), INTEGERS, st.text(max_size=20), st.binary(max_size=20))


def pages(rows: list[tuple[object, ...]]) -> list[bytes]:
    """The pages of a database that holds these rows in one table."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("CREATE TABLE t (a, b, c, d)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    data = connection.serialize()
    connection.close()
    return [data[start : start + PAGE] for start in range(0, len(data), PAGE)]


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=40))
def test_every_row_is_read_back(rows: list[tuple[object, ...]]) -> None:
    found = {}
    for page in pages(rows)[1:]:
        for cell in leaf_cells(page):
            assert cell.overflow == 0
            found[cell.rowid] = record(cell.local)
    assert [found[number] for number in sorted(found)] == rows


def test_the_first_page_begins_after_the_files_header() -> None:
    first = pages([])[0]
    assert list(leaf_cells(first)) == []
    (schema,) = leaf_cells(first, first_page=True)
    assert record(schema.local)[0] == "table"  # type: ignore[index]


@pytest.mark.parametrize("size", [900, 989, 990, 1_500, 1_020 * 3 + 500, 20_000])
def test_what_overflows_begins_on_its_page_and_goes_on_where_it_says(size: int) -> None:
    text = "w" * size
    every = pages([(None, None, None, text)])
    (cell,) = [cell for page in every[1:] for cell in leaf_cells(page) if b"ww" in cell.local]
    payload, number = cell.local, cell.overflow
    while number:
        page = every[number - 1]
        number = int.from_bytes(page[:4], "big")
        payload += page[4:]
    assert record(payload[: cell.size]) == (None, None, None, text)


@given(st.binary(min_size=0, max_size=PAGE))
def test_noise_never_raises(noise: bytes) -> None:
    for page in (noise, b"\x0d" + noise, b"\x0d\x00\x00\x00\x09" + noise, bytes(100) + b"\x0d" + noise):
        for first_page in (False, True):
            for cell in leaf_cells(page, first_page=first_page):
                record(cell.local)
    record(noise)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=10), st.data())
def test_a_flipped_bit_never_raises(rows: list[tuple[object, ...]], data: st.DataObject) -> None:
    page = bytearray(pages(rows)[1])
    page[data.draw(st.integers(0, PAGE - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for cell in leaf_cells(bytes(page)):
        record(cell.local)


@pytest.mark.parametrize("payload", [b"", b"\x02", b"\x02\x07" + bytes(8), b"\x02\x0a", b"\x02\x0d\xff", b"\x02\x01"])
def test_what_is_no_record_of_ours_is_none(payload: bytes) -> None:
    assert record(payload) is None


SALTS = b"saltsalt"
WAL_HEADER = (0x377F0682).to_bytes(4, "big") + bytes(12) + SALTS + bytes(8)


def head(number: int, commit: int = 0, salts: bytes = SALTS) -> bytes:
    return number.to_bytes(4, "big") + commit.to_bytes(4, "big") + salts + bytes(8)


def test_frames_count_up_to_the_last_commit_of_this_turn() -> None:
    heads = [head(1), head(2, 2), head(3), head(4, 4, b"othersal"), head(5, 5), head(6)]
    found = committed_frames(WAL_HEADER, iter(heads), PAGE)
    first = WAL_HEADER_BYTES + FRAME_HEADER_BYTES
    step = FRAME_HEADER_BYTES + PAGE
    assert found == [
        Frame(1, first),
        Frame(2, first + step),
        Frame(3, first + 2 * step),
        Frame(5, first + 4 * step),
    ]


def test_what_is_no_write_ahead_log_has_no_frames() -> None:
    assert committed_frames(b"", iter([]), PAGE) == []
    assert committed_frames(bytes(32), iter([head(1, 1)]), PAGE) == []
    assert committed_frames(WAL_HEADER, iter([b"short"]), PAGE) == []
