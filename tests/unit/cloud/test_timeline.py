"""Times of rows: the claim where it can be, else order by the monotonic clock up to the moment of receipt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.ledger import LIVE, Interval
from aquasmart_cloud.core.model import Scale
from aquasmart_cloud.core.pricing import Rollups, by_minute
from aquasmart_cloud.core.timeline import EARLIEST_MS, MINUTE_MS, Timeline
from tests.contract.messages import AT
from tests.unit.cloud.batches import make

NOW = AT + 1_000


def test_a_claim_that_can_be_is_believed() -> None:
    timeline = Timeline(make([1, 1, 1]), NOW)
    assert [timeline.at(row) for row in range(3)] == [AT, AT + 100, AT + 200]
    assert timeline.shift_ms == 0
    assert timeline.extent(0) == (AT, AT + 200)
    assert timeline.extent(2) == (AT + 200, AT + 200)


def test_steps_of_the_wall_clock_are_followed() -> None:
    timeline = Timeline(make([1, 1, 1], wall_steps=[[1, -50_000], [2, 60_000]]), NOW + 20_000)
    assert [timeline.at(row) for row in range(3)] == [AT, AT + 100 - 50_000, AT + 200 + 10_000]
    assert timeline.extent(0) == (AT + 100 - 50_000, AT + 10_200)


def test_a_clock_in_the_future_ends_at_receipt() -> None:
    timeline = Timeline(make([1, 1], at=NOW + 86_400_000), NOW)
    assert timeline.at(1) == NOW
    assert timeline.at(0) == NOW - 100
    assert timeline.shift_ms == -86_400_100


def test_a_clock_at_1970_ends_at_receipt() -> None:
    timeline = Timeline(make([1, 1], at=5), NOW)
    assert (timeline.at(0), timeline.at(1)) == (NOW - 100, NOW)


def test_a_clock_that_was_set_in_the_batch_is_believed_backwards() -> None:
    timeline = Timeline(make([1, 1, 1], at=5, wall_steps=[[2, AT - 205]]), NOW)
    assert [timeline.at(row) for row in range(3)] == [AT - 205 + 5, AT - 100, AT]
    assert timeline.shift_ms == 0


def test_no_row_is_older_than_the_product() -> None:
    timeline = Timeline(make([1, 1], dt=[0, 1 << 61]), NOW)
    assert timeline.at(0) == EARLIEST_MS
    assert next(timeline.minutes(0)).bucket_at == EARLIEST_MS


@given(
    st.lists(st.integers(0, 90_000), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(-200_000, 200_000)), max_size=3, unique_by=lambda each: each[0]),
    st.integers(0, 39),
)
def test_minutes_tile_the_rows_and_agree_with_each_rows_time(
    dt: list[int], steps: list[tuple[int, int]], start: int
) -> None:
    wall_steps = sorted([row, step] for row, step in steps if row < len(dt))
    batch = make([1] * len(dt), dt=dt, wall_steps=wall_steps)
    timeline = Timeline(batch, NOW + 10_000_000)
    runs = list(timeline.minutes(min(start, len(dt))))
    covered = [row for run in runs for row in range(run.start, run.end)]
    assert covered == list(range(min(start, len(dt)), len(dt)))
    for run in runs:
        for row in range(run.start, run.end):
            assert timeline.at(row) // MINUTE_MS * MINUTE_MS == run.bucket_at
    if covered:
        times = [timeline.at(row) for row in covered]
        assert timeline.extent(covered[0]) == (min(times), max(times))


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 9)), min_size=1, max_size=30), st.data())
def test_the_minutes_volumes_sum_to_the_parts(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    batch = make([counts for _, counts in rows], dt=[dt for dt, _ in rows])
    timeline = Timeline(batch, NOW + 10_000_000)
    positions = [1_000_000]
    for _, counts in rows:
        positions.append(positions[-1] + counts)
    shift = data.draw(st.sampled_from([0, 1 << 32]))
    low = data.draw(st.integers(positions[0], positions[-1])) + shift
    high = data.draw(st.integers(low - shift, positions[-1])) + shift
    price = Interval(low, high, Scale(20_000, 9), shift, LIVE, "a", None)
    shares = by_minute(list(timeline.minutes(0)), positions, price, shift, low, high)
    assert sum(volume for _, volume in shares) == price.volume_ul(low, high)
    naive: dict[int, int] = {}
    for row in range(len(rows)):
        start, end = max(positions[row] + shift, low), min(positions[row + 1] + shift, high)
        if end > start:
            bucket = timeline.at(row) // MINUTE_MS * MINUTE_MS
            naive[bucket] = naive.get(bucket, 0) + price.volume_ul(start, end)
    found: dict[int, int] = {}
    for bucket, volume in shares:
        found[bucket] = found.get(bucket, 0) + volume
    assert found == naive


def test_rollups_of_wider_grains_sum_to_the_minutes() -> None:
    rollups = Rollups()
    rollups.add(0, 5, 1, 2)
    rollups.add(60_000, 7, events=1)
    rollups.add(3_600_000, -3)
    rollups.add(0, 1)
    assert rollups.grain(60_000) == {0: [6, 1, 2], 60_000: [7, 0, 1], 3_600_000: [-3, 0, 0]}
    assert rollups.grain(3_600_000) == {0: [13, 1, 3], 3_600_000: [-3, 0, 0]}
    assert (rollups.volume_ul, rollups.disputed_ul) == (10, 1)
