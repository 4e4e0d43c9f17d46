"""The figures of the whole fleet: the sum of the stations' rollups after any interleaving, and questions about them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from aquasmart_cloud.services.fleet_filling import FleetFilling
from aquasmart_cloud.store import fleet_figures, fleet_rollups
from aquasmart_cloud.store.aggregations import Question, of_stations
from aquasmart_cloud.store.foreign_queries import Wanted
from aquasmart_cloud.store.rebuilding import rebuild_station
from aquasmart_cloud.store.schema import GRAIN_WIDTHS_MS
from tests.contract.messages import meterless_header
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run, Sender
from tests.integration.store.stores import SQLITE

BASE = 1_000_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
ALL_TIME = (0, 1 << 62)


def stations_sum(cloud: CloudUnderTest) -> dict[tuple[str, int], tuple[int, ...]]:
    """What the figures must be, by SQL of the test's own."""
    rows = cloud.query(
        "SELECT grain, bucket_at, SUM(volume_ul), SUM(disputed_ul), SUM(events) FROM rollup GROUP BY grain, bucket_at"
    )
    return {(grain, at): tuple(int(each) for each in figures) for grain, at, *figures in rows}


def stored(cloud: CloudUnderTest) -> dict[tuple[str, int], tuple[int, ...]]:
    rows = cloud.query("SELECT grain, bucket_at, volume_ul, disputed_ul, events FROM fleet_rollup")
    return {(grain, at): tuple(figures) for grain, at, *figures in rows}


def shown(cloud: CloudUnderTest) -> dict[tuple[str, int], tuple[int, ...]] | None:
    """What whoever asks is told."""
    found: dict[tuple[str, int], tuple[int, ...]] = {}
    for grain in GRAIN_WIDTHS_MS:
        figures = fleet_figures.read(cloud.database, grain, *ALL_TIME)
        if figures is None:
            return None
        found |= {(grain, each.bucket_at): tuple(each[1:]) for each in figures}
    return found


def work(cloud: CloudUnderTest) -> None:
    """The job until it has nothing to do. A new one each time: it begins with looking for stations."""
    while FleetFilling(cloud.database).cycle(cloud.now_ms):
        pass


def sendings(sender: Sender, chance: random.Random) -> list[Callable[[], Any]]:
    """Everything that moves a station's figures about: streams that overlap, live rows over a catch-up, disputes, idle
    minutes, a backlog of yesterday, two meters, no meter."""
    live, late = Run(BASE, at=NOW_MS - 600_000), Run(BASE, at=NOW_MS - DAY_MS)
    caught = Run(BASE + 5, at=NOW_MS - 30_000)
    other = Run(BASE, at=NOW_MS - 200_000, meter_id="tap-2", epoch="6d1d6a0e-5c1f-4f7e-8a37-0f1be1a3c0ab")
    found: list[Callable[[], Any]] = []

    def send(run: Run, counts: list[int], **more: Any) -> None:
        batch = run.batch(counts, **more)
        found.append(lambda: sender.take(batch))

    for number in range(6):
        send(live, [chance.randrange(9) for _ in range(5)])
        send(late, [chance.randrange(4) for _ in range(4)], dt=[0, 70_000, 70_000, 3_600_000])
        send(caught, [40, 1], rows=[{"row": 0, "kind": "catch_up"}] if number == 0 else [])
        send(other, [2, 900], rows=[{"row": 1, "kind": "disputed"}] if number == 3 else [])
    boot = {"stream": meterless_header(), "counts_before": 0, "rows": [{"row": 0, "kind": "boot", "data": {}}]}
    send(Run(0), [0, 0], **boot)
    found += [found[0], found[5]]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_after_any_interleaving_the_fleet_is_the_sum_of_its_stations(
    cloud: CloudUnderTest, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    # Small portions, so that covering and adding are cut at every place.
    portion = (1, 2, 3, 7, 20, 500)[seed]
    monkeypatch.setattr(fleet_rollups, "_PORTION", portion)
    queues = [sendings(cloud.station(f"tap-{number}"), chance) for number in range(3)]
    known = 0
    while any(queues):
        queue = chance.choice([each for each in queues if each])
        queue.pop(0)()
        for _ in range(chance.randrange(3 + 60 // portion)):
            _one_step(cloud, chance)
        if (told := shown(cloud)) is not None:
            known += 1
            assert told == stations_sum(cloud)
        if chance.random() < 0.02:
            fleet_rollups.refill(cloud.database, cloud.now_ms)
    # Else nothing was compared on the way.
    assert known
    work(cloud)
    assert stored(cloud) == shown(cloud) == stations_sum(cloud)
    assert fleet_figures.audit(cloud.database).findings == ()
    assert cloud.one("SELECT COUNT(*) FROM fleet_mark WHERE complete") == 3


def _one_step(cloud: CloudUnderTest, chance: random.Random) -> None:
    """A piece of the job's work, in an order that the job would not choose."""
    state = fleet_rollups.state(cloud.database)
    if state in ("", fleet_rollups.EMPTYING):
        if not state:
            fleet_rollups.refill(cloud.database, cloud.now_ms)
        if not fleet_rollups.empty(cloud.database):
            fleet_rollups.advance(cloud.database, fleet_rollups.EMPTYING, fleet_rollups.FILLING, cloud.now_ms)
        return
    uncovered = fleet_rollups.uncovered(cloud.database)
    if uncovered and chance.random() < 0.7:
        fleet_rollups.cover(cloud.database, chance.choice(uncovered))
    else:
        fleet_rollups.add_changes(cloud.database, "")
        if not uncovered:
            fleet_rollups.advance(cloud.database, fleet_rollups.FILLING, fleet_rollups.COMPLETE, cloud.now_ms)


def test_what_is_asked_of_the_fleet_is_the_same_with_and_without_the_worker(filled: CloudUnderTest) -> None:
    cloud = filled
    second = cloud.station("tap-9")
    questions = [
        Question(Wanted(from_ms=low, to_ms=high), by)
        for by in ((), ("minute",), ("hour",), ("day",), ("month",), ("metric", "day"))
        for low, high in (ALL_TIME, (NOW_MS // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS, 1 << 62))
    ]
    run = Run(BASE, at=NOW_MS - 120_000)
    second.take(run.batch([5, 5]))
    before = [of_stations(cloud.database, each) for each in questions]
    assert shown(cloud) is None
    work(cloud)
    assert shown(cloud) is not None
    assert [of_stations(cloud.database, each) for each in questions] == before
    # What came since is told, although nobody has added it up.
    second.take(run.batch([7, 7]))
    behind = stored(cloud)
    after = [of_stations(cloud.database, each) for each in questions]
    assert stored(cloud) == behind
    cloud.database.connection().execute("UPDATE fleet_fill SET state = 'filling'")
    assert [of_stations(cloud.database, each) for each in questions] == after != before


def test_a_station_with_many_minutes_is_covered_while_it_sends(
    cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_rollups, "_PORTION", 50)
    sender, run = cloud.station(), Run(BASE, at=NOW_MS - DAY_MS)
    for _ in range(8):
        sender.take(run.batch([1] * 100, dt=[0, *[60_000] * 99]))
    fleet_rollups.refill(cloud.database, NOW_MS)
    fleet_rollups.advance(cloud.database, fleet_rollups.EMPTYING, fleet_rollups.FILLING, NOW_MS)
    assert not fleet_rollups.cover(cloud.database, "demo-1")
    again = Run(BASE + 20, at=NOW_MS - DAY_MS)
    sender.take(again.batch([900] * 10, dt=[0, *[80 * 60_000] * 9]))
    work(cloud)
    assert stored(cloud) == stations_sum(cloud)


def test_a_request_that_older_software_logged_is_seen_and_all_is_filled_anew(cloud: CloudUnderTest) -> None:
    sender, run = cloud.station(), Run(BASE)
    sender.take(run.batch([1, 2]))
    work(cloud)
    sender.take(run.batch([3, 4]))
    with cloud.database.writing() as connection:
        [log_id] = connection.execute("SELECT MAX(log_id) FROM processing_log").fetchone()
        [detail] = connection.execute("SELECT detail FROM processing_log WHERE log_id = ?", (log_id,)).fetchone()
        plain = {name: value for name, value in json.loads(detail).items() if name != "minutes"}
        connection.execute("UPDATE processing_log SET detail = ? WHERE log_id = ?", (json.dumps(plain), log_id))
    assert shown(cloud) is None
    assert "anew" in FleetFilling(cloud.database).cycle(cloud.now_ms)
    work(cloud)
    assert stored(cloud) == shown(cloud) == stations_sum(cloud)


def test_a_rebuild_has_the_fleet_filled_anew(cloud: CloudUnderTest) -> None:
    for name in ("tap-1", "tap-2"):
        cloud.station(name).take(Run(BASE).batch([1, 2, 3]))
    with cloud.database.writing() as connection:
        connection.execute("UPDATE rollup SET volume_ul = volume_ul + 5 WHERE station_id = 'tap-1'")
    work(cloud)
    assert rebuild_station(cloud.database, cloud.stations, "tap-2", NOW_MS) == []
    assert fleet_rollups.state(cloud.database) == fleet_rollups.COMPLETE
    assert rebuild_station(cloud.database, cloud.stations, "tap-1", NOW_MS)
    assert shown(cloud) is None
    work(cloud)
    assert stored(cloud) == stations_sum(cloud)


def test_the_audit_names_what_differs_and_the_refill_mends_it(
    filled: CloudUnderTest, command: Callable[..., tuple[int, str, str]]
) -> None:
    cloud = filled
    assert "worker' makes the figures" in command("audit", "fleet")[1]
    work(cloud)
    status, said, _ = command("audit", "fleet")
    assert (status, "the sum of the stations'" in said) == (0, True)
    with cloud.database.writing() as connection:
        connection.execute("UPDATE fleet_rollup SET volume_ul = volume_ul + 1 WHERE grain = 'day'")
    status, said, _ = command("audit", "fleet", "--json")
    assert status == 1
    assert all(each["where"].startswith("day ") for each in json.loads(said)["findings"])
    assert command("audit", "fleet", "--refill")[0] == 0
    work(cloud)
    assert command("audit", "fleet")[0] == 0


@pytest.mark.parametrize("store", [SQLITE], indirect=True)
def test_what_is_outstanding_is_found_by_station_not_by_reading_the_log(cloud: CloudUnderTest) -> None:
    for values, statement in (
        (("", 5), fleet_rollups._NEXT),
        (("day", 0, 1), fleet_figures._NOW + fleet_figures._OF_SPAN),
    ):
        plan = cloud.query("EXPLAIN QUERY PLAN " + statement.format(most=5), *values)
        steps = [str(step[3]) for step in plan]
        assert "SEARCH l USING PRIMARY KEY (station_id=? AND log_id>?)" in steps
        assert not any(step.startswith("SCAN l") for step in steps)
