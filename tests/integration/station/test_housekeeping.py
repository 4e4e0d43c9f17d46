"""Housekeeping on real files and a real small disk: what it says, what it does, and in which order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aquasmart_station.adapters.log_keeper import LogKeeper
from aquasmart_station.adapters.log_outbox import Mark, Outbox
from aquasmart_station.adapters.log_writer import LogWriter
from aquasmart_station.adapters.reserve import RESERVE_BYTES, Reserve
from aquasmart_station.core.degraded import DISK_FULL, DISK_SLOW, LOG_OVER_BUDGET, WAL_LARGE, Reasons
from aquasmart_station.core.errors import LogError
from aquasmart_station.core.model import Draft
from aquasmart_station.core.retention import DAY_MS, STRETCH
from aquasmart_station.core.ring import Ring
from aquasmart_station.services.housekeeping import Housekeeping
from tests.integration.small_disk import Filler, small_disk
from tests.integration.station.log_bench import AT_MS, START, header, lengthen, volumes

S_NS = 1_000_000_000


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.mono_s, self.wall_ms, self.said = 1_000.0, AT_MS, "ntp"

    def mono_ns(self) -> int:
        return int(self.mono_s * S_NS)

    def wall_ns(self) -> int:
        return self.wall_ms * 1_000_000

    def quality(self) -> str:
        return self.said


class Post:
    """A log with its writer and its housekeeping, as the reader has them."""

    def __init__(self, folder: Path, *, budget_bytes: int | None = None) -> None:
        self.path, self.clock, self.reasons, self.ring = folder / "log.db", HandClock(), Reasons(), Ring(1_000_000)
        self.reserve = Reserve(folder)
        self.house = Housekeeping(
            keeper=LogKeeper(self.path, budget_bytes=budget_bytes, retention_ms=30 * DAY_MS),
            reserve=self.reserve,
            reasons=self.reasons,
            ring=self.ring,
            clock=self.clock,
        )
        self.house.before_open()
        self.writer = LogWriter(self.path)
        self.writer.open()

    def commit(self, drafts: list[Draft] | None = None) -> bool:
        """As the reader does it: what fails goes back into the ring."""
        self.ring.put(drafts or [])
        taken = self.ring.take()
        try:
            self.writer.append(taken)
        except LogError as fault:
            self.ring.give_back(taken[self.writer.settle() :])
            self.house.failed(fault, 0)
            return False
        self.house.committed(0)
        return True

    def turn(self, seconds: float = 6.0) -> frozenset[str]:
        self.clock.mono_s += seconds
        self.house.turn()
        return self.reasons.active

    def close(self) -> None:
        self.house.close()
        self.writer.close()

    def file(self) -> list[tuple[int, int, int]]:
        with closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
            return connection.execute("SELECT seq, seqs, counts FROM event ORDER BY position").fetchall()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.close()


def acknowledge_all(path: Path) -> None:
    outbox = Outbox(path)
    outbox.take_over(1)
    outbox.look()
    for lane in outbox.lanes.values():
        place = outbox.position_of(lane, lane.last_seq)
        assert place is not None
        outbox.move_mark(Mark(lane.number, lane.last_seq, place[1], place[0]), 1)
    outbox.close()


def test_the_reserve_is_allocated_and_given_back(post: Post, tmp_path: Path) -> None:
    assert not post.reserve.held
    post.turn()
    assert post.reserve.held
    assert (tmp_path / "log.reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    assert post.reserve.release()
    assert not post.reserve.release()
    post.turn()
    assert post.reserve.held


def test_a_sparse_file_keeps_nothing_back(tmp_path: Path) -> None:
    with (tmp_path / "log.reserve").open("wb") as file:
        file.truncate(RESERVE_BYTES)
    reserve = Reserve(tmp_path)
    assert not reserve.held
    assert reserve.hold()
    assert (tmp_path / "log.reserve").stat().st_blocks * 512 >= RESERVE_BYTES


def test_someone_who_reads_for_minutes_is_named_and_commits_become_rarer(post: Post) -> None:
    tap = header()
    post.commit(volumes(tap, START, 10))
    holder = sqlite3.connect(post.path, isolation_level=None)
    holder.execute("BEGIN")
    holder.execute("SELECT count(*) FROM event").fetchone()
    for turn in range(30):
        post.commit(volumes(tap, START + 10 + 5_000 * turn, 5_000))
    assert post.turn() == {WAL_LARGE}
    assert STRETCH <= post.house.stretch < 3 * STRETCH
    assert not post.house.urgent_wait
    lengthen(post.path, 16 << 20)
    assert post.turn() == {WAL_LARGE}
    assert post.house.stretch > 3 * STRETCH
    assert post.house.urgent_wait
    holder.execute("COMMIT")
    holder.close()
    for turn in range(2):
        post.commit(volumes(tap, START + 200_000 + turn, 1))
    assert post.turn() == frozenset()
    assert post.house.stretch == 1
    assert not post.house.urgent_wait


def test_a_slow_commit_is_spoken_of_for_a_minute(post: Post) -> None:
    post.commit(volumes(header(), START, 1))
    post.house.committed(900_000_000)
    assert post.turn() == frozenset()
    post.house.committed(1_100_000_000)
    assert post.turn() == {DISK_SLOW}
    assert post.turn(50.0) == {DISK_SLOW}
    assert post.turn(5.0) == frozenset()


@pytest.mark.parametrize(("clock", "left"), [("ntp", 1), ("unset", 300)])
def test_old_acknowledged_events_go_by_themselves_while_the_clock_is_known(post: Post, clock: str, left: int) -> None:
    post.commit(volumes(header(), START, 300))
    acknowledge_all(post.path)
    post.clock.wall_ms, post.clock.said = AT_MS + 31 * DAY_MS, clock
    post.turn(601.0)
    assert len(post.file()) == left


def test_near_its_budget_acknowledged_events_go_first_and_then_the_rest_is_thinned_in_steps(tmp_path: Path) -> None:
    post = Post(tmp_path, budget_bytes=1 << 20)
    tap = header()
    post.commit(volumes(tap, START, 15_000))
    acknowledge_all(post.path)
    post.commit(volumes(tap, START + 15_000, 10_000, after_ms=1_500_000))
    assert LOG_OVER_BUDGET in post.turn()
    while post.turn(0.1):
        pass
    assert post.house.figures()["resolution_ms"] == 0
    assert [seq for seq, *_ in post.file()][-10_000:] == list(range(15_001, 25_001))
    # Nobody takes them; more come. What was measured every 100 ms is kept by the second, then by ten seconds, …
    reached, counts = [0], START + 25_000
    for turn in range(400):
        post.commit(volumes(tap, counts, 2_500, after_ms=2_500_000 + turn * 250_000))
        counts += 2_500
        post.turn(6.0)
        for _ in range(20):
            if not post.turn(0.1):
                break
        step_ms = post.house.figures()["resolution_ms"]
        if step_ms not in reached:
            reached.append(step_ms)
        if len(reached) == 3:
            break
    assert reached == [0, 1_000, 10_000]
    rows = post.file()
    seen = rows[0][0] - rows[0][1]
    for seq, seqs, _ in rows:
        assert seq - seqs == seen
        seen = seq
    assert rows[-1] == (counts - START, 1, counts - 1)
    assert post.path.stat().st_size < 2 << 20
    post.close()


@pytest.mark.needs("loop")
def test_on_a_disk_full_to_the_last_block_events_make_room_for_events(tmp_path: Path) -> None:
    """In the order of rescue: the reserve, then what is acknowledged, then merging; the books of the log stay exact."""
    with small_disk(tmp_path / "image", tmp_path / "data", 40) as folder:
        filler, tap = Filler(folder), header()
        post = Post(folder)
        post.commit(volumes(tap, START, 60_000))
        acknowledge_all(post.path)
        post.commit(volumes(tap, START + 60_000, 40_000, after_ms=6_000_000))
        assert post.turn() == frozenset()
        assert post.reserve.held
        filler.fill()
        assert post.turn() == {DISK_FULL}
        assert not post.reserve.held
        for _ in range(40):
            post.turn(0.1)
        # Now the reserve's space is gone, too; what is left is in the log's own file.
        filler.fill()
        counts, failed = START + 100_000, 0
        for turn in range(150):
            failed += not post.commit(volumes(tap, counts, 600, after_ms=10_000_000 + turn * 60_000))
            counts += 600
            post.turn(0.5)
        assert DISK_FULL in post.reasons.active
        assert len(post.ring) == 0
        assert failed < 75
        rows = post.file()
        assert rows[0][0] > 60_000
        assert rows[-1][0] == counts - START
        seen = rows[0][0] - rows[0][1]
        for seq, seqs, position in rows:
            assert (seq - seqs, position) == (seen, START + seq - 1)
            seen = seq
        filler.leave()
        assert post.turn() == frozenset()
        assert post.reserve.held
        post.close()
