"""Damaged rows, ends and headers of a log in use: gaps of exact volume, nothing pending for ever, nothing mispriced."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_view import LogView
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.batching import BatchSize
from aquasmart_station.core.errors import LogDamaged
from aquasmart_station.core.model import Kind
from aquasmart_station.services.packing import Packer
from tests.integration.station.test_log import batch_of, header, only_lane, volumes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def writer(path: Path):
    log = LogWriter(path)
    log.open()
    yield log
    log.close()


@pytest.fixture
def outbox(writer: LogWriter, path: Path):
    box = Outbox(path)
    box.take_over(1)
    yield box
    box.close()


def damage(path: Path, position: int, column: str = "counts", value: object = 5) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"UPDATE event SET {column} = ? WHERE position = ?", (value, position))
    connection.close()


@pytest.mark.parametrize(
    ("column", "value"), [("counts", 999), ("at_ms", 1), ("kind", 3), ("seq", 900), ("data", "{}")]
)
def test_a_damaged_row_becomes_a_gap_and_its_volume_stays(
    writer: LogWriter, outbox: Outbox, path: Path, column: str, value: object
) -> None:
    writer.append(volumes(header(), 1_000_001, 1_000_003, 1_000_006))
    damage(path, 2, column, value)
    batch = batch_of(outbox, only_lane(outbox))
    assert [(row.seq, row.kind, row.counts) for row in batch.rows] == [
        (1, Kind.VOLUME, 1_000_001),
        (2, Kind.GAP, 1_000_006),
        (3, Kind.VOLUME, 1_000_006),
    ]


def test_a_damaged_last_row_waits_while_the_stream_is_open_and_is_a_gap_of_nothing_once_it_is_closed(
    writer: LogWriter, outbox: Outbox, path: Path
) -> None:
    writer.append(volumes(header(), 1_000_001, 1_000_003))
    damage(path, 2)
    lane = only_lane(outbox)
    batch = batch_of(outbox, lane)
    assert batch.through_seq == 1
    outbox.move_mark(Mark(lane.number, 1, 1_000_001, 1), 5)
    assert outbox.batch(lane, 10) is None
    next_run = LogWriter(path)
    assert next_run.resume("tap-1").counts == 1_000_001  # type: ignore[union-attr]
    next_run.append(volumes(header(opening=1_000_001), 1_000_004))
    next_run.close()
    outbox.look()
    gap = batch_of(outbox, lane)
    assert [(row.seq, row.kind, row.counts) for row in gap.rows] == [(2, Kind.GAP, 1_000_001)]


@pytest.mark.parametrize("positions", [(3,), (2, 3), (1, 2, 3)])
def test_a_damaged_seq_does_not_leave_events_pending_for_ever(
    writer: LogWriter, outbox: Outbox, path: Path, positions: tuple[int, ...]
) -> None:
    """The last rows claim seqs that never were; each is one event, whatever it says."""
    tap = header()
    writer.append(volumes(tap, 1_000_001, 1_000_003, 1_000_006))
    for position in positions:
        damage(path, position, "seq", 1 << 40)
    outbox.look()
    assert outbox.pending == 3
    writer.append(volumes(tap, 1_000_010))
    outbox.look()
    assert outbox.pending == 4
    batch = batch_of(outbox, only_lane(outbox))
    assert (batch.through_seq, batch.counts_through) == (4, 1_000_010)
    outbox.move_mark(Mark(1, 4, 1_000_010, 4), 5)
    assert outbox.pending == 0


def test_a_damaged_row_of_a_damaged_stream_is_nobodys(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    writer.append(volumes(header(), 1_000_001, 1_000_003))
    damage(path, 2, "stream", 77)
    outbox.look()
    assert outbox.pending == 1


def test_an_open_stream_that_waits_for_its_next_row_does_not_keep_others_waiting(
    writer: LogWriter, outbox: Outbox, path: Path
) -> None:
    one, two = header("tap-1"), header("tap-2")
    writer.append([*volumes(one, 1_000_001), *volumes(two, 1_000_001)])
    damage(path, 1)
    outbox.look()
    packed = Packer(outbox, BatchSize(100, 100)).next()
    assert packed is not None
    assert packed.batch.header == two


@pytest.mark.parametrize("lost", ["damaged", "gone"])
def test_a_closed_stream_without_its_tail_ends_where_the_next_one_opened(
    writer: LogWriter, outbox: Outbox, path: Path, lost: str
) -> None:
    writer.append(volumes(header(), 1_000_001, 1_000_003, 1_000_007))
    writer.append(volumes(header(opening=1_000_007), 1_000_009))
    if lost == "damaged":
        damage(path, 2)
        damage(path, 3)
    else:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM event WHERE position IN (2, 3)")
    lane = only_lane(outbox)
    first = batch_of(outbox, lane)
    assert [row.seq for row in first.rows] == [1]
    outbox.move_mark(Mark(lane.number, 1, 1_000_001, 1), 5)
    assert outbox.next_lane() is lane
    gap = batch_of(outbox, lane)
    assert [(row.seq, row.seqs, row.kind, row.counts) for row in gap.rows] == [(3, 2, Kind.GAP, 1_000_007)]
    outbox.move_mark(Mark(lane.number, 3, 1_000_007, gap.through_position), 5)
    assert outbox.pending == 1
    again = Outbox(path)
    again.take_over(9)
    again.look()
    assert again.pending == 1
    again.close()


def test_an_end_that_cannot_be_is_not_believed(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    writer.append(volumes(header(), 1_000_001))
    writer.append(volumes(header(opening=1_000_001), 1_000_009))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE stream SET tail_seq = 1 << 30 WHERE stream = 1")
    outbox.look()
    assert outbox.pending == 2


def test_a_damaged_header_is_named_and_never_prices_anything(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    writer.append(volumes(header(), 1_000_001))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE stream SET header = replace(header, '20000', '20001')")
    with pytest.raises(LogDamaged, match="header"):
        outbox.look()
    with pytest.raises(LogDamaged, match="header"), LogView(path) as log:
        log.standings()


def test_a_header_of_the_first_version_has_no_checksum_and_is_taken(writer: LogWriter, path: Path) -> None:
    tap = header()
    writer.append(volumes(tap, 1_000_001))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE stream SET header = json_remove(header, '$.crc32')")
    with LogView(path) as log:
        assert log.standings()[0].header == tap


def test_a_log_is_never_made_beside_the_wal_of_another(tmp_path: Path) -> None:
    (tmp_path / "log.db-wal").write_bytes(b"rows of a log that is gone")
    with pytest.raises(LogDamaged, match="-wal is there"):
        LogWriter(tmp_path / "log.db").open()
    assert [path.name for path in tmp_path.iterdir()] == ["log.db-wal"]


def test_a_damaged_last_row_of_a_stream_that_the_same_run_closed_is_a_gap_with_its_counts(
    writer: LogWriter, outbox: Outbox, path: Path
) -> None:
    writer.append(volumes(header(), 1_000_001, 1_000_003))
    writer.append(volumes(header(opening=1_000_003), 1_000_004))
    damage(path, 2)
    outbox.look()
    lane = outbox.lanes[1]
    outbox.move_mark(Mark(lane.number, 1, 1_000_001, 1), 5)
    gap = batch_of(outbox, lane)
    assert [(row.seq, row.kind, row.counts) for row in gap.rows] == [(2, Kind.GAP, 1_000_003)]
