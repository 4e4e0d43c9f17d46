"""Two taps with two protocols on one station: each counted exactly, neither waiting for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.integration.balance import START, volume_ul
from tests.integration.world import STEADY, World, eventually

pytestmark = pytest.mark.e2e
UL_PER_MILLILITRE = 1_000


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """tap-1 a pulse bridge of K 450, tap-2 a Modbus meter whose register counts millilitres."""
    world = make_world(meters=[STEADY, replace(STEADY, id="tap-2", driver="modbus")])
    world.start("cloud", "meter:tap-1", "meter:tap-2")
    world.take_baseline()
    world.site.start("sync")
    return world


def _assert_each_balances(world: World) -> None:
    pulse_ul = volume_ul(world.site.meter_counts("tap-1").lifetime)
    modbus_ul = (world.site.meter_counts("tap-2").lifetime - START) * UL_PER_MILLILITRE
    status = world.site.status()
    found = {m["meter_id"]: (m["meter_ul"], m["log_ul"], m["acked_ul"]) for m in status["meters"]}
    assert pulse_ul > 0
    assert modbus_ul > 0
    assert found == {"tap-1": (pulse_ul,) * 3, "tap-2": (modbus_ul,) * 3}
    assert status["meter_ul"] == world.site.totals()["volume_ul"] == pulse_ul + modbus_ul
    rolled = "SELECT meter_id, sum(volume_ul) FROM rollup WHERE grain = 'day' AND meter_id <> '' GROUP BY meter_id"
    assert dict(world.cloud.query(rolled)) == {"tap-1": pulse_ul, "tap-2": modbus_ul}
    assert world.cloud.marks() == world.log.last_seqs()
    assert world.cloud.differences() == {}


def _rows_of(world: World, meter_id: str) -> int:
    return sum(row.meter_id == meter_id for row in world.log.rows())


def test_both_are_counted_exactly(world: World) -> None:
    world.await_flow(events=60)
    world.settle()
    _assert_each_balances(world)


def test_one_unplugged_does_not_hold_up_the_other(world: World) -> None:
    world.site.kill("meter:tap-1")
    eventually(lambda: world.site.status()["meters"][0]["state"] == "link-down", "tap-1 shown as down", every_s=0.3)
    before = _rows_of(world, "tap-2")
    eventually(lambda: _rows_of(world, "tap-2") >= before + 20, "tap-2 counted on")
    world.site.start("meter:tap-1")
    before = _rows_of(world, "tap-1")
    eventually(lambda: _rows_of(world, "tap-1") >= before + 10, "tap-1 counted again")
    # What is shown is a moment behind what is counted.
    eventually(lambda: world.site.status()["meters"][0]["state"] == "ok", "tap-1 shown as well again", every_s=0.3)
    world.settle()
    _assert_each_balances(world)


def test_killed_in_turns(world: World) -> None:
    for name in ("reader", "meter:tap-2", "sync", "meter:tap-1", "cloud", "reader"):
        world.site.kill(name)
        if world.site.alive("reader"):
            world.await_flow(events=3)
        world.site.start(name)
        world.await_flow(events=5)
    world.settle()
    _assert_each_balances(world)
