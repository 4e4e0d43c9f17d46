"""What a meter may do, against the real reader, sync and cloud: rollover, restart, reset, backflow, jump, fall, swap,
stuck. The meter's own count file is the truth; the product never reads it.

After each, the cloud's intervals tile every epoch, their price is the epoch's, and the total is the meter's, or less
or more by exactly the difference that the meters' page demands.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from demo.specs import MeterSpec
from tests.integration.balance import START, UL_PER_COUNT, assert_books_balance
from tests.integration.world import STEADY, World, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
MakeWorld = Callable[..., World]
UL_PER_ML = Fraction(1000)
TUF_MODULUS = (1 << 31) * 1_000_000
TUF = replace(STEADY, driver="modbus", identity="1234567")


def counting(make_world: MakeWorld, meter: MeterSpec = STEADY) -> World:
    """A site whose meter runs and whose station delivers."""
    world = make_world(meters=[meter])
    world.start("cloud", "meter:tap-1")
    world.take_baseline(then=meter.pattern)
    world.site.start("sync")
    world.await_flow(10)
    return world


def priced(counts: int, since: int, ul_per_count: Fraction = UL_PER_COUNT) -> int:
    """Volume between two positions, by fractions."""
    return int(counts * ul_per_count) - int(since * ul_per_count)


def stand_still(world: World) -> None:
    """The tap is shut: the meter's register goes on from where it is, and the reader has seen all of it."""
    world.with_meter(pattern="idle", jump=0)
    eventually(lambda: at_register(world), "the log has every count")


def at_register(world: World) -> bool:
    """Whether the log's last row of the meter stands at the register."""
    last = [row.counts for row in world.log.rows() if row.meter_id == "tap-1"][-1]
    meter = world.site.meters[0]
    modulus = meter.modulus or (TUF_MODULUS if meter.driver == "modbus" else 1 << 32)
    return last % modulus == world.site.meter_counts().counts


def in_a_pause(world: World) -> bool:
    """Whether the meter has stood still for a moment and the log has all of it: the next pour is seconds away."""
    if not at_register(world):
        return False
    register = world.site.meter_counts().counts
    time.sleep(0.4)
    return world.site.meter_counts().counts == register and at_register(world)


def stand_still_at_the_top(world: World) -> None:
    """The tap is shut while nothing is owed."""
    while True:
        stand_still(world)
        if not meter_state(world)["figures"]["reverse_debt_counts"]:
            return
        world.with_meter(pattern="steady")
        world.await_flow(3)


def epochs(world: World) -> dict[str, int]:
    """The position that each epoch of the log has come to, in the order in which they began."""
    query = (
        "SELECT json_extract(s.header, '$.epoch'), max(e.counts) FROM event e JOIN stream s USING (stream)"
        " WHERE s.meter_id IS NOT NULL GROUP BY 1 ORDER BY min(e.position)"
    )
    with closing(sqlite3.connect(f"file:{world.log.path}?mode=ro", uri=True, timeout=10)) as connection:
        return dict(connection.execute(query).fetchall())


def kinds(world: World) -> list[str]:
    return [row.kind for row in world.log.rows() if row.meter_id == "tap-1"]


def data_of(world: World, kind: str) -> list[dict[str, Any]]:
    return [json.loads(row.data or "{}") for row in world.log.rows() if (row.kind, row.meter_id) == (kind, "tap-1")]


def meter_state(world: World) -> dict[str, Any]:
    return dict(world.site.status()["meters"][0])


def assert_tiled(world: World, ul_per_count: Fraction = UL_PER_COUNT) -> None:
    """Station = cloud; every epoch's intervals touch and do not overlap, and their price is the station's total."""
    query = "SELECT epoch, from_counts, to_counts FROM ledger_interval ORDER BY epoch, from_counts"
    epochs: dict[str, list[tuple[int, int]]] = {}
    for epoch, start, end in world.cloud.query(query):
        epochs.setdefault(epoch, []).append((start, end))
    for intervals in epochs.values():
        assert [end for _, end in intervals[:-1]] == [start for start, _ in intervals[1:]]
    total = sum(priced(intervals[-1][1], intervals[0][0], ul_per_count) for intervals in epochs.values())
    assert world.cloud.volume_ul() == total
    status = world.site.status()
    assert (status["log_ul"], status["acked_ul"], status["pending"]) == (total, total, 0)
    assert world.cloud.marks() == world.log.last_seqs()


# Rollover


@pytest.mark.parametrize("reader", ["there", "killed"])
@pytest.mark.parametrize("modulus", [1 << 16, 1 << 32, 10**6], ids=["2^16", "2^32", "10^6"])
def test_a_totaliser_that_rolls_over_is_unwrapped(make_world: MakeWorld, modulus: int, reader: str) -> None:
    start = modulus - 900
    world = counting(make_world, replace(STEADY, start_counts=start, modulus=modulus, flow_l_min=50))
    if reader == "killed":
        world.site.kill("reader")
        time.sleep(3.0)  # 375 counts a second: the register turns over while nobody asks
        world.site.start("reader")
    eventually(lambda: world.site.meter_counts().counts < start, "the register has begun again")
    world.await_flow(10)
    stand_still(world)
    world.settle()
    counted = world.site.meter_counts()
    assert counted.lifetime == modulus + counted.counts
    assert world.cloud.volume_ul() == priced(counted.lifetime, start)
    assert kinds(world).count("rollover") == 1
    assert len(epochs(world)) == 1
    assert world.cloud.differences() == {}
    assert_tiled(world)


def test_a_cubic_metre_register_rolls_over_at_two_to_the_31(make_world: MakeWorld) -> None:
    start = TUF_MODULUS - 900
    world = counting(make_world, replace(TUF, start_counts=start))
    eventually(lambda: world.site.meter_counts().counts < start, "the register has begun again")
    stand_still(world)
    world.settle()
    counted = world.site.meter_counts()
    assert counted.lifetime == TUF_MODULUS + counted.counts
    assert world.cloud.volume_ul() == priced(counted.lifetime, start, UL_PER_ML)
    assert kinds(world).count("rollover") == 1
    assert world.cloud.differences() == {}
    assert_tiled(world, UL_PER_ML)


# Restart and reset


@pytest.mark.parametrize("reader", ["there", "killed"])
def test_a_meter_that_keeps_its_count_and_restarts_at_a_million_goes_on(make_world: MakeWorld, reader: str) -> None:
    """A new boot id is no reset where the register survives power loss: nothing of the million is counted again."""
    world = counting(make_world)
    for _ in range(3):
        if reader == "killed":
            world.site.kill("reader")
        world.site.kill("meter:tap-1")
        world.site.start("meter:tap-1")
        world.site.start("reader")
        world.await_flow(8)
    stand_still(world)
    world.settle()
    assert world.site.meter_counts().counts > START
    assert not {"reset", "rollover", "disputed"} & set(kinds(world))
    assert kinds(world).count("baseline") == 1
    assert_books_balance(world)
    assert_tiled(world)


@pytest.mark.parametrize("reader", ["there", "killed"])
def test_a_meter_that_begins_at_zero_is_a_new_epoch_and_names_the_time_unmeasured(
    make_world: MakeWorld, reader: str
) -> None:
    """Restarted between two pours, so that nothing flowed that nobody saw: then the total is the meter's to the count.

    Whatever its file says of the restart, the cloud names the most that could have been missed, and adds none of it.
    """
    world = counting(make_world, replace(STEADY, volatile=True, pattern="pours", flow_l_min=40))
    for _ in range(3):
        world.await_flow(5)
        resets = kinds(world).count("reset")
        eventually(lambda: in_a_pause(world), "a pause between two pours", every_s=0.01)
        if reader == "killed":
            world.site.kill("reader")
        world.site.kill("meter:tap-1")
        world.site.start("meter:tap-1")
        world.site.start("reader")
        eventually(lambda n=resets: kinds(world).count("reset") == n + 1, "the reset is booked")
    world.await_flow(5)
    eventually(lambda: in_a_pause(world), "a pause between two pours", every_s=0.01)
    world.settle()
    assert world.cloud.volume_ul() == sum(priced(end, 0) for end in epochs(world).values())
    assert sum(epochs(world).values()) == world.site.meter_counts().lifetime - START
    assert set(world.cloud.differences()) == {"unmeasured"}
    assert len(data_of(world, "reset")) == 4, "the one after the baseline, and three"
    assert all(each["unmeasured_bound_ul"] is not None for each in data_of(world, "reset"))
    assert_tiled(world)


# Backflow


def test_a_few_counts_of_backflow_are_a_debt_that_the_next_water_repays(make_world: MakeWorld) -> None:
    world = counting(make_world, replace(STEADY, pattern="backflow", flow_l_min=20))
    eventually(lambda: kinds(world).count("reverse") >= 4, "backflow, several times")
    world.await_flow(20)
    stand_still_at_the_top(world)
    assert all(1 <= each["debt_counts"] <= 4 for each in data_of(world, "reverse"))
    world.settle()
    assert_books_balance(world)
    assert_tiled(world)
    assert len(epochs(world)) == 1


@pytest.mark.parametrize("reader", ["there", "killed"])
def test_three_counts_of_backflow_are_owed_across_a_kill(make_world: MakeWorld, reader: str) -> None:
    world = counting(make_world)
    stand_still(world)
    top = world.site.meter_counts().counts
    if reader == "killed":
        world.site.kill("reader")
    world.with_meter(jump=-3)
    world.site.start("reader")
    eventually(lambda: meter_state(world)["figures"]["reverse_debt_counts"] == 3, "three counts are owed")
    assert data_of(world, "reverse")[-1]["debt_counts"] == 3
    world.site.kill("reader")
    world.site.start("reader")
    eventually(lambda: meter_state(world)["figures"]["reverse_debt_counts"] == 3, "still, after a kill -9")
    assert max(row.counts for row in world.log.rows()) == top, "nothing is taken back"
    world.with_meter(pattern="steady", jump=0)
    world.await_flow(10)
    stand_still(world)
    world.settle()
    register = world.site.meter_counts().counts
    assert world.cloud.volume_ul() == priced(register, START)
    assert register == world.site.meter_counts().lifetime - 3
    assert world.cloud.differences() == {}
    assert_tiled(world)


# What no rule explains


def test_an_absurd_jump_is_counted_apart_and_named(make_world: MakeWorld) -> None:
    """45 m³ in a second: believed when three polls agree, in the total, and called disputed to the microlitre."""
    world = counting(make_world)
    stand_still(world)
    before = world.site.meter_counts().counts
    world.with_meter(jump=20_000_000)
    world.log.await_kind("disputed", "tap-1")
    world.with_meter(pattern="steady", jump=0)
    world.await_flow(10)
    stand_still(world)
    world.settle()
    counted = world.site.meter_counts()
    assert counted.counts == counted.lifetime + 20_000_000
    assert world.cloud.volume_ul() == priced(counted.counts, START)
    assert world.cloud.differences() == {"disputed": priced(before + 20_000_000, before)}
    assert kinds(world).count("disputed") == 1
    assert len(epochs(world)) == 1
    assert_tiled(world)


def test_a_jump_that_the_next_poll_takes_back_was_never_counted(make_world: MakeWorld) -> None:
    """The meter comes up with nonsense and goes again before three polls agree: one a second, so that there is time."""
    world = make_world(meters=[STEADY], overrides={"reader": {"poll_hz": 1}})
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(3)
    stand_still(world)
    world.with_meter(jump=20_000_000)
    eventually(lambda: meter_state(world)["state"] == "suspect", "a count that nothing explains", every_s=0.01)
    world.with_meter(jump=-20_000_000)
    eventually(lambda: meter_state(world)["state"] == "ok", "the former count again")
    world.with_meter(pattern="steady", jump=0)
    world.await_flow(3)
    stand_still(world)
    world.settle()
    assert "disputed" not in kinds(world)
    assert_books_balance(world)
    assert_tiled(world)


def test_a_fall_of_many_litres_begins_a_new_epoch_and_books_nothing_for_it(make_world: MakeWorld) -> None:
    world = counting(make_world)
    stand_still(world)
    top = world.site.meter_counts().counts
    world.with_meter(jump=-900_000)
    eventually(lambda: kinds(world).count("baseline") == 2, "a new epoch")
    world.with_meter(pattern="steady", jump=0)
    world.await_flow(10)
    stand_still(world)
    world.settle()
    counted = world.site.meter_counts()
    assert counted.counts == counted.lifetime - 900_000
    assert world.cloud.volume_ul() == priced(top, START) + priced(counted.counts, top - 900_000)
    assert (data_of(world, "baseline")[1]["reason"], len(epochs(world))) == ("decrease", 2)
    assert world.cloud.differences() == {"unknown-before": 0}
    assert_tiled(world)


# Replaced


def replaced(make_world: MakeWorld) -> tuple[World, int, int]:
    """A port on which another meter answers; the former one's last count, and the new one's first."""
    world = counting(make_world, TUF)
    stand_still(world)
    top = world.site.meter_counts().counts
    world.with_meter(identity="7654321", jump=-700_000)
    eventually(lambda: meter_state(world)["state"] == "frozen", "the port is frozen")
    first_seen = world.site.meter_counts().counts
    assert first_seen == top - 700_000
    world.with_meter(pattern="steady", jump=0)
    eventually(lambda: world.site.meter_counts().counts > first_seen + 300, "water flows through the new meter")
    return world, top, first_seen


def test_a_replaced_meter_counts_nothing_until_somebody_says_so(make_world: MakeWorld) -> None:
    """Also across a kill. The former meter, put back, goes on where it was."""
    world, top, first_seen = replaced(make_world)
    world.site.kill("reader")
    world.site.start("reader")
    eventually(lambda: meter_state(world)["state"] == "frozen", "frozen, after a kill -9 too")
    eventually(lambda: world.site.meter_counts().counts > first_seen + 900, "water flows on")
    state = meter_state(world)
    assert "acknowledge" in state["text"]
    assert "7654321" in state["text"]
    said = data_of(world, "anomaly")
    assert [(each["metric"], each["first_seen_counts"]) for each in said] == [("identity", first_seen)]
    world.await_delivered()
    assert world.cloud.volume_ul() == priced(top, START, UL_PER_ML)
    assert world.cloud.differences() == {}
    world.with_meter(identity=TUF.identity, jump=top - world.site.meter_counts().counts, pattern="idle")
    eventually(lambda: meter_state(world)["state"] == "ok", "the former meter again")
    world.with_meter(pattern="steady", jump=0)
    world.await_flow(10)
    stand_still(world)
    world.settle()
    assert world.cloud.volume_ul() == priced(world.site.meter_counts().counts, START, UL_PER_ML)
    assert world.cloud.differences() == {}
    assert len(epochs(world)) == 1
    assert_tiled(world, UL_PER_ML)


def test_an_acknowledged_swap_counts_from_the_count_first_seen(make_world: MakeWorld) -> None:
    """Water that ran through the new meter while its port was frozen is not lost."""
    world, top, first_seen = replaced(make_world)
    made = json.loads(world.site.station("meter", "swap", "tap-1", "--yes", "--json"))
    assert made["answer"] == "done"
    assert [row.kind for row in world.log.rows()].count("meter_change") == 1
    world.await_flow(10)
    stand_still(world)
    world.settle()
    register = world.site.meter_counts().counts
    expected = priced(top, START, UL_PER_ML) + priced(register, first_seen, UL_PER_ML)
    assert world.cloud.volume_ul() == expected
    assert world.cloud.differences() == {}
    assert epochs(world) == dict(zip(epochs(world), (top, register), strict=True))
    assert_tiled(world, UL_PER_ML)


# Stuck


def test_a_stuck_sensor_books_nothing_and_the_count_goes_on_after_it(make_world: MakeWorld) -> None:
    world = make_world(overrides={"detect": {"stuck_after_s": 1}})
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(10)
    stand_still(world)
    top = world.site.meter_counts()
    world.with_meter(pattern="steady", stuck=True)
    world.log.await_kind("anomaly", "tap-1")
    assert world.site.meter_counts().counts == top.counts
    world.site.kill("reader")
    world.site.start("reader")
    eventually(lambda: len(data_of(world, "anomaly")) == 2, "said again by the next run")
    assert {each["metric"] for each in data_of(world, "anomaly")} == {"stuck"}
    world.with_meter(stuck=False)
    world.await_flow(10)
    stand_still(world)
    world.settle()
    assert_books_balance(world)
    assert_tiled(world)
