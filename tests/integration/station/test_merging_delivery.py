"""Merging and pruning while sync delivers: whatever meets whatever, the cloud's books are exact and name nothing.

The station's side is the real writer, keeper and outbox on a real file; the cloud is the real application. What the
cloud was sent is also decoded here, from the stored bodies, by the contract's reference.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from math import floor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from aquasmart_station.adapters.log_keeper import LogKeeper
from aquasmart_station.adapters.log_lanes import Lane
from aquasmart_station.adapters.log_outbox import Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.core.encoding import Batch, compress, encode_batch
from aquasmart_station.core.merging import STEPS_MS
from aquasmart_station.core.model import Draft, Flag, Kind, Scale, StreamHeader
from aquasmart_station.core.outcome import Delivered, Rewind
from aquasmart_station.core.retention import DAY_MS
from aquasmart_station.services.delivery import Acknowledged, read_acknowledgement, settle_rewind
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest

START = 1_000_000
SCALE = Scale(20_000, 9)
BEGAN_MS = NOW_MS - 3_600_000


def price(counts: int) -> int:
    return floor(Fraction(SCALE.ul_num, SCALE.den) * counts)


class Field:
    """A station whose disk is tight and whose link is bad, and its cloud."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.folder, self.path = folder, folder / "log.db"
        self.cloud = CloudUnderTest(folder)
        self.sender = self.cloud.station()
        self.writer = LogWriter(self.path)
        self.writer.open()
        self.keeper = LogKeeper(self.path, budget_bytes=None, retention_ms=30 * DAY_MS)
        self.keeper.open()
        self.outbox = Outbox(self.path)
        self.outbox.take_over(1)
        self.counts, self.at_ms, self.epoch = START, BEGAN_MS, uuid4()
        self.events = self.merged_sent = self.clipped_sent = self.gaps_sent = 0
        self.backup: Path | None = None
        self.prepared: tuple[Lane, Batch] | None = None
        self.header = self._header()
        self.write(Kind.BASELINE, 0)

    def close(self) -> None:
        for each in (self.outbox, self.keeper, self.writer, self.cloud):
            each.close()

    def _header(self) -> StreamHeader:
        return StreamHeader(
            uuid4(), "tap-1", None, False, self.epoch, START, 1 << 32, self.counts, SCALE, self.at_ms,
            str(UUID(int=1)), "A1B2C3D4", "9f86d081884c7d65", "0.1.0", "ntp",
        )  # fmt: skip

    def write(self, kind: Kind, counts: int) -> None:
        self.counts += counts
        self.at_ms += self.chance.choice((100, 100, 100, 700, 20_000))
        flags = Flag(self.chance.choice((0, 0, 0, 1)))
        self.writer.append([Draft(self.header, kind, self.at_ms, self.at_ms - BEGAN_MS, self.counts, flags)])
        self.events += 1

    # What can happen

    def pour(self) -> None:
        for _ in range(self.chance.randint(1, 30)):
            self.write(Kind.VOLUME, self.chance.randint(1, 9))
        if self.chance.random() < 0.5:
            self.write(Kind.POUR, 0)

    def new_run(self) -> None:
        self.header = self._header()
        self.write(Kind.CATCH_UP, self.chance.randint(1, 50))

    def prune(self) -> None:
        while self.keeper.prune(cutoff_ms=None, pressed=True) and self.chance.random() < 0.8:
            pass

    def thin(self) -> None:
        step_ms = self.chance.choice(STEPS_MS)
        while self.keeper.thin(step_ms) and self.chance.random() < 0.8:
            pass

    def sync_restarts(self) -> None:
        self.outbox.close()
        self.outbox.take_over(NOW_MS)
        self.prepared = None

    def deliver(self) -> None:
        """A batch; perhaps prepared before the last merge, perhaps its answer is lost."""
        self.outbox.look()
        lane = self.outbox.next_lane()
        if lane is None:
            return
        batch = self._batch(lane, self.chance.choice((1, 3, 10, 100)))
        if batch is not None:
            if self.chance.random() < 0.5:
                self.chance.choice((self.thin, self.prune))()
            self._post(lane, batch, lost=self.chance.random() < 0.3)

    def cloud_is_backed_up(self) -> None:
        self.backup = self.folder / "backup.db"
        with closing(sqlite3.connect(self.cloud.path)) as source, closing(sqlite3.connect(self.backup)) as copy:
            source.backup(copy)

    def cloud_is_restored(self) -> None:
        if self.backup is not None:
            self.cloud.database.close()
            self.cloud.app.extensions["aquasmart"].database.close()
            for suffix in ("-wal", "-shm"):
                self.cloud.path.with_name(self.cloud.path.name + suffix).unlink(missing_ok=True)
            shutil.copy(self.backup, self.cloud.path)

    def _post(self, lane: Lane, batch: Batch, *, lost: bool) -> None:
        self.merged_sent += any(row.kind == Kind.MERGED for row in batch.rows)
        self.gaps_sent += any(row.kind == Kind.GAP for row in batch.rows)
        body = encode_batch(batch, trace_id=uuid4().hex, whole_header=True)
        answer = self.sender.request(compress(body), encoding="gzip")
        if answer.status_code == 409:
            problem = answer.json
            assert problem["code"] == "sequence-gap"
            settle_rewind(self.outbox, lane, Rewind(problem["expected_seq"], problem["counts_through"]), NOW_MS)
            return
        assert answer.status_code == 200, answer.text
        if not lost:
            said = read_acknowledgement(lane, batch, Delivered(answer.json["data"]))
            assert isinstance(said, Acknowledged)
            assert said.difference == ""
            self.outbox.move_mark(said.mark, NOW_MS)

    def _batch(self, lane: Lane, most: int) -> Batch | None:
        batch = self.outbox.batch(lane, most)
        self.clipped_sent += batch is not None and self._straddles(batch)
        return batch

    def _straddles(self, batch: Batch) -> bool:
        """Whether the first row of a batch is the rest of a longer one in the file."""
        with closing(sqlite3.connect(self.path)) as log:
            found = log.execute("SELECT seqs FROM event WHERE position = ?", (batch.rows[0].position,)).fetchone()
        return found is not None and batch.rows[0].kind != Kind.GAP and found[0] > batch.rows[0].seqs

    def settle(self) -> None:
        """Everything delivered, with no further accident."""
        for _ in range(1_000):
            self.outbox.look()
            lane = self.outbox.next_lane()
            if lane is None:
                return
            batch = self._batch(lane, 100)
            assert batch is not None
            self._post(lane, batch, lost=False)
        raise AssertionError("it never ends")


@pytest.fixture
def make_field(tmp_path: Path) -> Iterator[object]:
    made: list[Field] = []

    def make(seed: int) -> Field:
        folder = tmp_path / str(seed)
        folder.mkdir()
        made.append(Field(folder, seed))
        return made[-1]

    yield make
    for each in made:
        each.close()


def assert_exact(field: Field) -> None:
    cloud = field.cloud
    assert cloud.one("SELECT volume_ul FROM station") == price(field.counts) - price(START)
    assert cloud.one("SELECT events FROM station") == field.events
    assert cloud.entries() == {}
    cloud.assert_books_balance()
    marks = {UUID(str(s)): m for s, m in cloud.query("SELECT stream, mark_counts FROM stream")}
    assert max(marks.values()) == field.counts


@pytest.mark.parametrize("seed", range(6))
def test_books_are_exact_whatever_is_merged_and_pruned_under_syncs_feet(make_field, seed: int) -> None:
    field = make_field(seed)
    happenings = [field.pour] * 4 + [field.deliver] * 5 + [field.thin] * 2
    happenings += [field.prune, field.new_run, field.sync_restarts]
    for _ in range(60):
        field.chance.choice(happenings)()
    field.settle()
    assert field.merged_sent
    assert_exact(field)


def test_the_accidents_above_do_happen(make_field) -> None:
    """The property would prove nothing if no merged row ever straddled a mark."""
    clipped = 0
    for seed in range(100, 103):
        field = make_field(seed)
        for _ in range(60):
            field.chance.choice([field.pour, field.pour, field.deliver, field.deliver, field.thin])()
        field.settle()
        clipped += field.clipped_sent
    assert clipped > 3


@pytest.mark.parametrize("seed", range(3))
def test_a_cloud_restored_from_a_backup_gets_the_pruned_rows_as_gaps_with_their_exact_volume(
    make_field, seed: int
) -> None:
    field = make_field(seed)
    for _ in range(4):
        field.pour()
    field.deliver()
    field.cloud_is_backed_up()
    for _ in range(6):
        field.pour()
    field.settle()
    field.pour()
    field.settle()
    field.prune()
    field.cloud_is_restored()
    before = field.gaps_sent
    field.pour()
    field.thin()
    for _ in range(10):
        field.deliver()
    field.pour()
    field.settle()
    assert field.gaps_sent > before
    assert_exact(field)
