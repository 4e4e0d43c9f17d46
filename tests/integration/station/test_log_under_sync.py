"""Rows that were merged or pruned under sync's feet, and rewinds to where they were."""

from __future__ import annotations

from contextlib import closing

import pytest

from aquasmart_station.adapters.log_file import open_log
from aquasmart_station.adapters.log_outbox import Mark
from aquasmart_station.core.model import Draft, Kind
from aquasmart_station.core.outcome import Rewind
from aquasmart_station.services.delivery import settle_rewind
from tests.integration.station.log_bench import AT_MS, START, Bench, header, volumes


def test_a_merged_row_that_straddles_the_mark_is_clipped_when_it_is_sent(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 20))
    in_flight = bench.batch(most=7)
    bench.thin(3_600_000)
    bench.outbox.move_mark(Mark(1, in_flight.through_seq, in_flight.counts_through, in_flight.through_position), 5)
    batch = bench.batch()
    assert (batch.first_seq, batch.counts_before) == (8, START + 7)
    assert [(row.seq, row.seqs, row.kind, row.counts) for row in batch.rows] == [
        (19, 12, Kind.MERGED, START + 19),
        (20, 1, Kind.VOLUME, START + 20),
    ]
    assert bench.outbox.pending == 13
    # A new sync process finds the same, though no row is left at the position that the mark names.
    bench.outbox.close()
    bench.outbox.take_over(2)
    assert bench.batch() == batch


def test_what_is_left_of_one_row_is_a_plain_row_again(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 20))
    in_flight = bench.batch(most=18)
    bench.thin(3_600_000)
    bench.outbox.move_mark(Mark(1, in_flight.through_seq, in_flight.counts_through, in_flight.through_position), 5)
    assert [(row.seq, row.seqs, row.kind) for row in bench.batch().rows] == [
        (19, 1, Kind.VOLUME),
        (20, 1, Kind.VOLUME),
    ]


def test_a_wrong_hint_hides_no_rows(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 20))
    bench.lane()
    bench.outbox.move_mark(Mark(1, 5, START + 5, 12), 5)
    batch = bench.batch()
    assert (batch.first_seq, len(batch.rows)) == (6, 15)


def test_damaged_rows_at_the_end_of_a_run_are_told_as_a_gap_also_by_a_new_sync_process(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 20))
    with closing(open_log(bench.path)) as connection:
        connection.execute("UPDATE event SET counts = 7 WHERE position IN (19, 20)")
    bench.close()
    again = Bench(bench.path)
    again.writer.append(volumes(header(opening=START + 18), START + 19, 3))
    again.acknowledge(18)
    assert [(row.seq, row.seqs, row.kind, row.counts) for row in again.batch().rows] == [(20, 2, Kind.GAP, START + 18)]
    again.close()


def test_a_backlog_is_not_walked_through_to_find_its_end(bench: Bench) -> None:
    tap = header()
    for start in range(0, 50_000, 10_000):
        bench.writer.append(volumes(tap, START + start, 10_000))
    statements: list[str] = []
    bench.outbox._open().set_trace_callback(statements.append)
    assert bench.lane().pending == 50_000
    bench.outbox._open().set_trace_callback(None)
    assert not any("GROUP BY" in statement for statement in statements)


def test_a_damaged_end_is_not_looked_for_again_and_again(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 20))
    bench.acknowledge(19)
    with closing(open_log(bench.path)) as connection:
        connection.execute("UPDATE event SET counts = 7 WHERE position = 20")
    lane, statements = bench.lane(), []
    assert bench.outbox.batch(lane, 10) is None
    bench.outbox._open().set_trace_callback(statements.append)
    assert bench.outbox.batch(lane, 10) is None
    bench.outbox._open().set_trace_callback(None)
    assert sum("SELECT position, seq" in statement for statement in statements) == 1


def test_a_rewind_below_the_retained_rows_becomes_a_gap_with_the_clouds_counts(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START + 1, 100))
    bench.acknowledge(60)
    bench.prune()
    settle_rewind(bench.outbox, bench.lane(), Rewind(21, START + 20), 6)
    batch = bench.batch()
    assert (batch.first_seq, batch.counts_before) == (21, START + 20)
    assert [(row.seq, row.seqs, row.kind, row.counts) for row in batch.rows[:2]] == [
        (60, 40, Kind.GAP, START + 61),
        (61, 1, Kind.VOLUME, START + 61),
    ]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_rewind_of_a_closed_stream_with_no_rows_left_becomes_a_gap_to_its_end(
    bench: Bench, *, restarted: bool
) -> None:
    bench.writer.append(volumes(header(), START + 1, 30))
    bench.lane()
    bench.writer.append(volumes(header(opening=START + 30), START + 31, 5))
    bench.acknowledge(30)
    bench.prune()
    assert [row[0] for row in bench.rows()] == [2] * 5
    settle_rewind(bench.outbox, bench.lane(), Rewind(11, START + 10), 6)
    if restarted:
        bench.outbox.close()
        bench.outbox.take_over(2)
    assert bench.lane().pending == 20
    batch = bench.batch()
    assert (batch.first_seq, batch.counts_before) == (11, START + 10)
    assert [(row.seq, row.seqs, row.kind, row.counts) for row in batch.rows] == [(30, 20, Kind.GAP, START + 30)]


def test_no_read_transaction_passes_over_more_than_a_window(bench: Bench) -> None:
    """A sparse stream behind a long one: its next row is looked for in pieces."""
    own, tap = header(None), header()
    bench.writer.append([Draft(own, Kind.BOOT, AT_MS, 0, 0)])
    for start in range(0, 50_000, 10_000):
        bench.writer.append(volumes(tap, START + start, 10_000))
    bench.writer.append([Draft(own, Kind.SHUTDOWN, AT_MS, 0, 0)])
    bench.acknowledge(1, 1)
    statements: list[str] = []
    connection = bench.outbox._open()
    connection.set_trace_callback(statements.append)
    batch = bench.batch(1)
    connection.set_trace_callback(None)
    assert [row.kind for row in batch.rows] == [Kind.SHUTDOWN]
    assert sum("SELECT position, seq" in statement for statement in statements) == 3
