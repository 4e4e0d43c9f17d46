"""The keeper on a real log: what goes, what never goes, what merges, and what is left of the disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from aquasmart_station.adapters.log_file import open_log
from aquasmart_station.adapters.log_keeper import ROWS_AT_ONCE
from aquasmart_station.adapters.log_outbox import Mark
from aquasmart_station.adapters.log_view import LogView
from aquasmart_station.core.errors import LogError, LogFull
from aquasmart_station.core.model import Draft, Flag, Kind
from aquasmart_station.core.retention import DAY_MS, record_bytes
from tests.integration.station.log_bench import AT_MS, START, Bench, header, volumes

# Pruning


def test_acknowledged_rows_go_when_they_are_old_and_not_before(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 10, every_ms=DAY_MS))
    bench.acknowledge(8)
    bench.prune(now_ms=AT_MS + 33 * DAY_MS, pressed=False)
    assert [row[1] for row in bench.rows()] == [4, 5, 6, 7, 8, 9, 10]


def test_under_pressure_what_is_acknowledged_goes_and_nothing_else(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 1_700))
    bench.acknowledge(1_500)
    bench.prune()
    assert [row[1] for row in bench.rows()] == list(range(1_501, 1_701))


def test_one_transaction_takes_at_most_500_rows(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 1_700))
    bench.acknowledge(1_700)
    assert bench.keeper.prune(cutoff_ms=None, pressed=True)
    assert len(bench.rows()) == 1_700 - ROWS_AT_ONCE


def test_the_last_row_of_each_meter_stays_and_so_does_the_last_of_all(bench: Bench) -> None:
    one, two, own = header("tap-1"), header("tap-2"), header(None)
    bench.writer.append([*volumes(one, START, 3), *volumes(two, START, 3), Draft(own, Kind.BOOT, AT_MS, 0, 0)])
    for number, seq in ((1, 3), (2, 3), (3, 1)):
        bench.acknowledge(seq, number)
    bench.prune()
    assert [row[:2] for row in bench.rows()] == [(1, 3), (2, 3), (3, 1)]
    bench.close()
    again = Bench(bench.path)
    # A meter that has been silent since a former run keeps its last row, too.
    again.writer.append(volumes(header("tap-2", START + 2), START + 3, 2))
    again.acknowledge(2, 4)
    again.prune()
    assert [row[:2] for row in again.rows()] == [(1, 3), (4, 2)]
    resume = again.writer.resume("tap-1")
    assert resume is not None
    assert resume.counts == START + 2
    again.close()


def test_a_mark_that_was_rewound_is_seen_inside_the_transaction(bench: Bench) -> None:
    """Between the look and the transaction sync rewinds: the rows are wanted again, and stay."""
    bench.writer.append(volumes(header(), START, 100))
    bench.acknowledge(90)
    connection = bench.keeper._connection
    assert connection is not None
    rewound = []

    def on_statement(statement: str) -> None:
        if statement.startswith("SELECT stream, max(position)") and not rewound:
            rewound.append(statement)
            bench.outbox.move_mark(Mark(1, 10, START + 9, 10), 6)

    connection.set_trace_callback(on_statement)
    bench.prune()
    connection.set_trace_callback(None)
    assert rewound
    assert [row[1] for row in bench.rows()] == list(range(11, 101))


def test_freed_pages_are_used_again(bench: Bench) -> None:
    tap = header()
    bench.writer.append(volumes(tap, START, 20_000))
    bench.keeper.checkpoint()
    size = bench.path.stat().st_size
    for turn in range(1, 4):
        bench.acknowledge(20_000 * turn)
        bench.prune()
        assert bench.keeper.measure().spare_bytes > size // 2
        bench.writer.append(volumes(tap, START + 20_000 * turn, 20_000))
        bench.keeper.checkpoint()
    # A row of a million counts and more takes a byte or two more than the first.
    assert bench.path.stat().st_size < size * 1.25


# Thinning


@pytest.mark.parametrize(("step_ms", "rows"), [(1_000, 181), (10_000, 19), (60_000, 4), (3_600_000, 2)])
def test_each_step_of_thinning_keeps_counts_seqs_and_checksums(bench: Bench, step_ms: int, rows: int) -> None:
    """Three minutes at 10 Hz; the meter's last row is never touched."""
    bench.writer.append(volumes(header(), START + 1, 1_800))
    bench.thin(step_ms)
    assert len(bench.rows()) == rows
    batch = bench.batch()
    assert all(row.kind in (Kind.VOLUME, Kind.MERGED) for row in batch.rows)
    assert (batch.first_seq, batch.through_seq, batch.counts_through) == (1, 1_800, START + 1_800)


def test_steps_follow_each_other_and_one_transaction_looks_at_500_rows(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 1_800))
    assert bench.keeper.thin(1_000)
    assert sum(row[2] == 1 for row in bench.rows()) == 1_300
    for step_ms in (1_000, 10_000, 60_000, 3_600_000):
        bench.thin(step_ms)
    assert [row[1:3] for row in bench.rows()] == [(1_799, 1_799), (1_800, 1)]


def test_what_is_acknowledged_is_not_merged_and_rows_that_say_more_stay(bench: Bench) -> None:
    tap = header()
    bench.writer.append(
        [
            *volumes(tap, START + 1, 10),
            Draft(tap, Kind.POUR, AT_MS + 1_000, 1_000, START + 10, data={"volume_ul": 22_222}),
            *volumes(tap, START + 11, 10, after_ms=1_001),
        ]
    )
    bench.acknowledge(4)
    bench.thin(3_600_000)
    assert [row[1:4] for row in bench.rows()] == [
        *((seq, 1, Kind.VOLUME) for seq in (1, 2, 3, 4)),
        (10, 6, Kind.MERGED),
        (11, 1, Kind.POUR),
        (20, 9, Kind.MERGED),
        (21, 1, Kind.VOLUME),
    ]


def test_two_meters_whose_rows_interleave_are_thinned_apart(bench: Bench) -> None:
    one, two = header("tap-1"), header("tap-2")
    pairs = zip(volumes(one, START + 1, 700), volumes(two, START + 1, 700), strict=True)
    bench.writer.append([draft for pair in pairs for draft in pair])
    bench.thin(3_600_000)
    assert [row[:3] for row in bench.rows()] == [(1, 699, 699), (2, 699, 699), (1, 700, 1), (2, 700, 1)]


def test_a_damaged_row_is_neither_merged_nor_removed_and_its_gap_stays_the_same(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 40))
    with closing(open_log(bench.path)) as connection:
        connection.execute("UPDATE event SET counts = 7 WHERE position = 5")
    gap = next(row for row in bench.batch().rows if row.kind == Kind.GAP)
    bench.thin(3_600_000)
    assert [(row[1], row[2]) for row in bench.rows()] == [(4, 4), (5, 1), (6, 1), (39, 33), (40, 1)]
    assert [row for row in bench.batch().rows if row.kind == Kind.GAP] == [gap]


def test_a_run_of_the_reader_goes_on_from_a_thinned_log(bench: Bench) -> None:
    tap = header()
    bench.writer.append(volumes(tap, START + 1, 100))
    bench.thin(3_600_000)
    assert bench.writer.append(volumes(tap, START + 101, 1))[0].seq == 101
    bench.close()
    again = Bench(bench.path)
    resume = again.writer.resume("tap-1")
    assert resume is not None
    assert (resume.header, resume.counts) == (tap, START + 101)
    again.close()


# Space


def test_the_write_ahead_log_stops_growing_when_the_one_who_held_it_leaves(bench: Bench) -> None:
    tap = header()
    bench.writer.append(volumes(tap, START, 10))
    holder = sqlite3.connect(bench.path, isolation_level=None)
    holder.execute("BEGIN")
    holder.execute("SELECT count(*) FROM event").fetchone()
    for turn in range(30):
        bench.writer.append(volumes(tap, START + 10 + 5_000 * turn, 5_000))
    limit = bench.keeper.limits.wal_limit_bytes
    assert bench.keeper.measure().wal_bytes > limit
    holder.execute("COMMIT")
    holder.close()
    for turn in range(2):
        bench.writer.append(volumes(tap, START + 160_010 + turn, 1))
    assert bench.keeper.measure().wal_bytes <= limit


def test_a_full_file_is_named_full_and_nothing_is_half_done(bench: Bench) -> None:
    tap = header()
    bench.writer.append(volumes(tap, START, 100))
    connection = bench.writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    drafts = volumes(tap, START + 100, 2_000)
    with pytest.raises(LogFull):
        bench.writer.append(drafts)
    assert bench.writer.settle() == 0
    connection.execute("PRAGMA max_page_count = 1000000")
    assert len(bench.writer.append(drafts)) == 2_000
    assert [row[1] for row in bench.rows()] == list(range(1, 2_101))


def test_drafts_may_change_once_it_is_settled_that_they_are_not_in_the_log(bench: Bench) -> None:
    tap = header()
    bench.writer.append(volumes(tap, START, 1))
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(LogError):
            bench.writer.append(volumes(tap, START + 1, 5))
        assert bench.writer.settle() == 0
        other.execute("DROP TRIGGER no")
    merged = Draft(tap, Kind.MERGED, AT_MS, 0, START + 5, Flag.NONE, None, seqs=5)
    [row] = bench.writer.append([merged])
    assert (row.seq, row.seqs, row.counts) == (6, 5, START + 5)
    assert [(r.seq, r.seqs) for r in bench.batch().rows] == [(1, 1), (6, 5)]


def test_a_records_estimate_is_what_the_file_really_grows_by(bench: Bench) -> None:
    rows = bench.writer.append(volumes(header(), START, 50_000))
    bench.keeper.checkpoint()
    estimated = sum(record_bytes(row) for row in rows)
    assert 0.9 < estimated / bench.keeper.measure().page_bytes < 1.1


def test_usage_tells_growth_and_what_could_go(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 10_000, every_ms=30_000))
    bench.acknowledge(5_000)
    bench.keeper.checkpoint()
    with LogView(bench.path) as log:
        usage = log.usage()
    assert usage.grown_ms == DAY_MS
    assert usage.grown_bytes == pytest.approx(2_880 * usage.use.page_bytes / 10_000, rel=0.1)
    assert usage.acknowledged_bytes == pytest.approx(usage.use.page_bytes / 2, rel=0.01)


def test_usage_of_an_empty_log(bench: Bench) -> None:
    with LogView(bench.path) as log:
        assert (log.usage().grown_bytes, log.usage().acknowledged_bytes) == (0, 0)
