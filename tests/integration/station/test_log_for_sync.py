"""What sync takes out of a real log besides plain batches: bodies that fit, dead letters, what is still held."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aquasmart_station.adapters.log_dead_letters import read_dead_letters
from aquasmart_station.adapters.log_outbox import Mark
from aquasmart_station.core.batching import WIRE_LIMIT_BYTES, BatchSize
from aquasmart_station.core.bisecting import Portion, Verdict
from aquasmart_station.core.errors import Fenced
from aquasmart_station.core.model import Draft, Kind
from aquasmart_station.core.outcome import Refused
from aquasmart_station.services.packing import Packer
from tests.integration.station.log_bench import AT_MS, START, Bench, header, volumes

AGAINST = Verdict(Refused("invalid", "no"), "f" * 32)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "log.db")
    yield made
    made.close()


def with_long_data(bench: Bench, rows: int, length: int) -> None:
    """Rows whose data cannot be compressed to less than half."""
    of, dice = header(), random.Random(7)
    bench.writer.append(
        [
            Draft(of, Kind.ANOMALY, AT_MS + n, n, START + n, data={"noise": dice.randbytes(length // 2).hex()})
            for n in range(rows)
        ]
    )


def test_no_body_is_longer_than_a_request_may_be_and_nothing_is_left_out(bench: Bench) -> None:
    with_long_data(bench, 400, 15_000)
    lane, packer = bench.lane(), Packer(bench.outbox, BatchSize(2_000, rows=2_000))
    sizes, through = [], 0
    while (packed := packer.next()) is not None:
        assert packed.batch.first_seq == through + 1
        through = packed.batch.through_seq
        sizes.append(len(packed.body))
        place = Mark(lane.number, through, packed.batch.counts_through, packed.batch.through_position)
        bench.outbox.move_mark(place, 5)
    assert through == 400
    assert len(sizes) > 1
    assert max(sizes) <= WIRE_LIMIT_BYTES


def buried(bench: Bench, seq: int) -> None:
    """The row at `seq` as a dead letter, by the way that sync goes."""
    bench.acknowledge(seq - 1)
    lane = bench.lane()
    packed = Packer(bench.outbox, BatchSize()).next(portions={lane.number: Portion(1, as_gap=True)})
    assert packed is not None
    assert packed.replaced is not None
    assert [row.kind for row in packed.batch.rows] == [Kind.GAP]
    mark = Mark(lane.number, seq, packed.batch.counts_through, packed.batch.through_position)
    bench.outbox.bury(mark, packed.replaced, packed.batch.counts_before, AGAINST, 77)


def test_a_dead_letter_outlives_its_event_and_goes_as_the_same_gap_again(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 10))
    buried(bench, 4)
    assert bench.lane().acked_seq == 4
    [letter] = read_dead_letters(bench.path)
    assert (letter.row.seq, letter.row.counts, letter.counts_before, letter.code) == (
        4,
        START + 3,
        START + 2,
        "invalid",
    )
    assert letter.document()["volume_ul"] == header().scale.volume_ul(START + 2, START + 3)
    # A cloud that was restored asks from the beginning: the gap is derived anew, in this process and in the next.
    for _ in range(2):
        bench.outbox.move_mark(Mark(1, 0, START, 0), 6)
        rows = bench.batch().rows
        assert [row.kind for row in rows] == [Kind.VOLUME] * 3 + [Kind.GAP] + [Kind.VOLUME] * 6
        assert [row.counts for row in rows] == list(range(START, START + 10))
        bench.outbox.close()
        bench.outbox.take_over(2)
        bench.outbox.look()
    bench.acknowledge(10)
    bench.prune()
    assert [each.row for each in read_dead_letters(bench.path)] == [letter.row]


def test_the_mark_and_the_dead_letter_are_recorded_together_or_not_at_all(bench: Bench) -> None:
    bench.writer.append(volumes(header(), START, 5))
    bench.acknowledge(1)
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("UPDATE fence SET number = number + 1")
        other.commit()
    with pytest.raises(Fenced):
        buried_without_mark(bench)
    assert read_dead_letters(bench.path) == []
    with closing(sqlite3.connect(bench.path)) as other:
        assert other.execute("SELECT acked_seq FROM delivery").fetchone() == (1,)


def buried_without_mark(bench: Bench) -> None:
    batch = bench.batch(most=1)
    mark = Mark(1, 2, batch.counts_through, batch.through_position)
    bench.outbox.bury(mark, batch.rows[0], batch.counts_before, AGAINST, 77)


def test_a_retry_is_marked_and_no_longer_counted(bench: Bench) -> None:
    of = header()
    bench.writer.append(volumes(of, START, 5))
    buried(bench, 2)
    assert bench.outbox.dead_letters == 1
    bench.outbox.note_resent(str(of.id), 2, 99)
    assert bench.outbox.dead_letters == 0
    assert read_dead_letters(bench.path)[0].resent_at_ms == 99


def test_what_is_held_is_told_stream_by_stream(bench: Bench) -> None:
    first, second = header(), header(opening=START + 9)
    bench.writer.append(volumes(first, START, 10))
    bench.writer.append(volumes(second, START + 9, 5))
    bench.outbox.look()
    one, two = bench.outbox.retained()
    assert (one.stream, one.first_seq, one.through, one.counts_through, one.closed) == (
        str(first.id), 1, 10, START + 9, True,
    )  # fmt: skip
    assert (two.stream, two.through, two.counts_through, two.closed) == (str(second.id), 5, START + 13, False)
    # Delivered and forgotten by sync, and still held; then pruned in part; then wholly.
    bench.acknowledge(10)
    bench.outbox.close()
    bench.outbox.take_over(2)
    bench.outbox.look()
    assert 1 not in bench.outbox.lanes
    assert bench.outbox.retained()[0] == one
    with closing(sqlite3.connect(bench.path)) as by_hand, by_hand:
        by_hand.execute("DELETE FROM event WHERE stream = 1 AND seq < 7")
    assert [(each.first_seq, each.through) for each in bench.outbox.retained()] == [(7, 10), (1, 5)]
    with closing(sqlite3.connect(bench.path)) as by_hand, by_hand:
        by_hand.execute("DELETE FROM event WHERE stream = 1")
    assert [each.stream for each in bench.outbox.retained()] == [str(second.id)]


def test_a_stream_that_was_forgotten_is_opened_again(bench: Bench) -> None:
    first, second = header(), header(opening=START + 9)
    bench.writer.append(volumes(first, START, 10))
    bench.writer.append(volumes(second, START + 9, 5))
    bench.acknowledge(10)
    bench.outbox.close()
    bench.outbox.take_over(2)
    bench.outbox.look()
    lane = bench.outbox.lane_of(str(first.id))
    assert lane is not None
    assert (lane.acked_seq, lane.last_seq, lane.pending) == (10, 10, 0)
    assert bench.outbox.lane_of(str(first.id)) is lane
    assert bench.outbox.lane_of(str(header().id)) is None
    assert bench.outbox.lane_of("no id") is None
