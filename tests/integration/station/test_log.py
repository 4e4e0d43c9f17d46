"""The log on a real disk: what is committed is there, what was interrupted is not doubled, marks are fenced."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from aquasmart_station.adapters.log_file import lock, open_log, open_log_read_only
from aquasmart_station.adapters.log_lanes import Lane
from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_view import LogView
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.encoding import Batch
from aquasmart_station.core.errors import Fenced, LogError
from aquasmart_station.core.model import Draft, Kind, Scale, StreamHeader

BOOT, HARDWARE = "boot-1", "hw"


def header(meter_id: str | None = "tap-1", *, opening: int = 1_000_000, stream_id: UUID | None = None) -> StreamHeader:
    meterless = meter_id is None
    return StreamHeader(
        id=stream_id or uuid4(),
        meter_id=meter_id,
        identity=None,
        identity_strong=False,
        epoch=None if meterless else UUID(int=7),
        epoch_from=0 if meterless else 1_000_000,
        modulus=None if meterless else 1 << 32,
        opening_counts=0 if meterless else opening,
        scale=None if meterless else Scale(20_000, 9),
        opened_at_ms=1,
        boot_id=BOOT,
        meter_boot_id=None,
        hardware_id=HARDWARE,
        software="0.1.0",
        clock="ntp",
    )


def volumes(of: StreamHeader, *positions: int) -> list[Draft]:
    return [Draft(of, Kind.VOLUME, 1_763_676_000_000 + n, n, counts) for n, counts in enumerate(positions)]


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


def only_lane(box: Outbox) -> Lane:
    box.look()
    lane = box.next_lane()
    assert lane is not None
    return lane


def batch_of(box: Outbox, lane: Lane, most: int = 100) -> Batch:
    batch = box.batch(lane, most)
    assert batch is not None
    return batch


def test_the_file_is_made_for_the_card(writer: LogWriter, path: Path) -> None:
    connection = open_log(path)
    pragmas = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "journal_mode", "synchronous", "user_version")
    }
    connection.close()
    assert pragmas == {"page_size": 1024, "journal_mode": "wal", "synchronous": 2, "user_version": 3}


def test_committed_rows_are_there_for_another_process_at_once(writer: LogWriter, path: Path) -> None:
    tap = header()
    rows = writer.append(volumes(tap, 1_000_001, 1_000_003))
    assert [(row.position, row.seq, row.counts) for row in rows] == [(1, 1, 1_000_001), (2, 2, 1_000_003)]
    with LogView(path) as log:
        standing = log.standings()[0]
        shown = list(log.rows_after(0, 10))
    assert (standing.last_seq, standing.last_counts, standing.pending) == (2, 1_000_003, 2)
    assert [row.counts for row, _ in shown] == [1_000_001, 1_000_003]
    assert shown[0][1] == tap


def test_a_new_run_resumes_from_the_last_row(writer: LogWriter, path: Path) -> None:
    tap = header()
    writer.append(volumes(tap, 1_000_001, 1_000_003))
    writer.close()
    again = LogWriter(path)
    again.open()
    resume = again.resume("tap-1")
    assert resume is not None
    assert (resume.header, resume.counts) == (tap, 1_000_003)
    assert again.resume("tap-2") is None
    next_run = header(opening=1_000_003)
    assert again.append(volumes(next_run, 1_000_010))[0].seq == 1
    again.close()
    with LogView(path) as log:
        assert [(s.last_seq, s.last_counts) for s in log.standings()] == [(2, 1_000_003), (1, 1_000_010)]


def test_seqs_are_gapless_per_stream_whatever_is_interleaved(writer: LogWriter, path: Path) -> None:
    one, two, own = header("tap-1"), header("tap-2"), header(None)
    for step in range(1, 6):
        writer.append(
            [*volumes(one, 1_000_000 + step), *volumes(two, 1_000_000 + step), Draft(own, Kind.DIAGNOSTIC, 1, 1, 0)]
        )
    with LogView(path) as log:
        by_stream: dict[UUID, list[int]] = {}
        for row, of in log.rows_after(0, 100):
            by_stream.setdefault(of.id, []).append(row.seq)
    assert by_stream == {one.id: [1, 2, 3, 4, 5], two.id: [1, 2, 3, 4, 5], own.id: [1, 2, 3, 4, 5]}


def test_the_next_stream_of_a_meter_closes_the_one_before(writer: LogWriter, path: Path) -> None:
    first, second = header(), header(opening=1_000_002)
    writer.append([*volumes(first, 1_000_002), *volumes(second, 1_000_005)])
    tails = open_log_read_only(path).execute("SELECT tail_seq, tail_counts FROM stream ORDER BY stream").fetchall()
    assert tails == [(1, 1_000_002), (None, None)]


def test_an_append_that_fails_leaves_nothing_and_can_be_repeated(writer: LogWriter, path: Path) -> None:
    tap = header()
    writer.append(volumes(tap, 1_000_001))
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute(
        "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    drafts = volumes(tap, 1_000_002, 1_000_003)
    for _ in range(3):
        with pytest.raises(LogError, match="full"):
            writer.append(drafts)
    intruder.execute("DROP TRIGGER full")
    intruder.close()
    rows = writer.append([*drafts, *volumes(tap, 1_000_004)])
    assert [(row.position, row.seq, row.counts) for row in rows] == [
        (2, 2, 1_000_002),
        (3, 3, 1_000_003),
        (4, 4, 1_000_004),
    ]


class CommitThatReportsAFault(sqlite3.Connection):
    """A disk that keeps what it was given and then says that it did not."""

    lie = False

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        cursor = super().execute(sql, *parameters)
        if sql == "COMMIT" and self.lie:
            self.lie = False
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


def test_a_commit_that_reached_the_disk_though_it_reported_a_fault_is_not_written_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **(k | {"factory": CommitThatReportsAFault})))
    writer, tap = LogWriter(path), header()
    writer.open()
    writer.append(volumes(tap, 1_000_001))
    connection = writer._connection
    assert isinstance(connection, CommitThatReportsAFault)
    connection.lie = True
    with pytest.raises(LogError, match="I/O"):
        writer.append(volumes(tap, 1_000_002))
    rows = writer.append(volumes(tap, 1_000_002, 1_000_003))
    assert [(row.seq, row.counts) for row in rows] == [(2, 1_000_002), (3, 1_000_003)]
    assert connection.execute("SELECT count(*), max(seq) FROM event").fetchone() == (3, 3)
    writer.close()


def test_batches_are_contiguous_pieces_of_one_stream_in_order(writer: LogWriter, outbox: Outbox) -> None:
    one, two = header("tap-1"), header("tap-2")
    for step in range(1, 5):
        writer.append([*volumes(one, 1_000_000 + step), *volumes(two, 1_000_000 + 2 * step)])
    lane = only_lane(outbox)
    assert lane.header == one
    batch = batch_of(outbox, lane, 3)
    assert (batch.first_seq, batch.through_seq, batch.counts_before, batch.counts_through) == (
        1,
        3,
        1_000_000,
        1_000_003,
    )
    outbox.move_mark(Mark(lane.number, 3, 1_000_003, batch.through_position), 5)
    # The other meter's oldest row is older now than what is left of the first.
    assert outbox.next_lane() is outbox.lanes[2]
    assert batch_of(outbox, lane).first_seq == 4
    assert outbox.pending == 5


def test_a_mark_survives_and_a_wrong_hint_is_rescanned(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    tap = header()
    writer.append(volumes(tap, *range(1_000_001, 1_000_011)))
    lane = only_lane(outbox)
    outbox.move_mark(Mark(lane.number, 4, 1_000_004, 9), 5)
    outbox.close()
    again = Outbox(path)
    again.take_over(2)
    batch = batch_of(again, only_lane(again))
    assert (batch.first_seq, batch.through_seq, batch.counts_before) == (5, 10, 1_000_004)
    again.close()


def test_delivered_and_closed_streams_are_forgotten(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    first, second = header(), header(opening=1_000_002)
    writer.append([*volumes(first, 1_000_002), *volumes(second, 1_000_005)])
    lane = only_lane(outbox)
    outbox.move_mark(Mark(lane.number, 1, 1_000_002, 1), 5)
    again = Outbox(path)
    again.take_over(2)
    again.look()
    assert [lane.header for lane in again.lanes.values()] == [second]
    assert again.pending == 1
    again.close()


def test_a_sync_that_was_replaced_cannot_move_a_mark(writer: LogWriter, outbox: Outbox, path: Path) -> None:
    writer.append(volumes(header(), 1_000_001))
    lane = only_lane(outbox)
    successor = Outbox(path)
    assert successor.take_over(9) == 2
    with pytest.raises(Fenced):
        outbox.move_mark(Mark(lane.number, 1, 1_000_001, 1), 5)
    assert successor._open().execute("SELECT count(*) FROM delivery").fetchone() == (0,)
    successor.close()


def test_what_the_reader_commits_is_noticed(writer: LogWriter, outbox: Outbox) -> None:
    outbox.changed()
    assert not outbox.changed()
    writer.append(volumes(header(), 1_000_001))
    assert outbox.changed()
    assert not outbox.changed()


def test_two_processes_cannot_hold_one_lock(tmp_path: Path) -> None:
    held = lock(tmp_path / "sync.lock", exclusive=True)
    with pytest.raises(BlockingIOError):
        lock(tmp_path / "sync.lock", exclusive=True)
    with pytest.raises(BlockingIOError):
        lock(tmp_path / "sync.lock", exclusive=False)
    assert held >= 0


def test_a_log_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database at all, just some text" * 40)
    with pytest.raises(LogError, match=r"log\.db"):
        LogWriter(tmp_path / "log.db").open()
    with pytest.raises(LogError, match="there is no log"), LogView(tmp_path / "absent.db"):
        pass


def test_a_closed_log_can_be_read_without_writing(writer: LogWriter, path: Path) -> None:
    writer.append(volumes(header(), 1_000_001))
    writer.close()
    before = sorted(p.name for p in path.parent.iterdir())
    with LogView(path) as log:
        assert log.standings()[0].last_seq == 1
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_a_connection_that_fails_altogether_is_replaced_and_nothing_is_booked_twice(
    writer: LogWriter, outbox: Outbox, path: Path
) -> None:
    writer.append(volumes(header(), 1_000_001))
    outbox.look()
    outbox._open().close()
    writer._connected().close()
    drafts = volumes(next(iter(outbox.lanes.values())).header, 1_000_002)
    with pytest.raises(LogError):
        writer.append(drafts)
    assert [row.seq for row in writer.append(drafts)] == [2]
    with pytest.raises(LogError):
        outbox.move_mark(Mark(1, 1, 1_000_001, 1), 5)
    outbox.look()
    outbox.move_mark(Mark(1, 1, 1_000_001, 1), 5)
    assert outbox.pending == 1
