"""What sync keeps in ops.db besides operations under way: what was settled, for a month by the cloud's time, and how
large the fleet is."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.fakes.wall_clock import shifted
from tests.integration.operations.telling import await_state, query, states, visit
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
DAY_MS = 86_400_000


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.start("cloud", "meter:tap-1", "reader", "sync")
    return world


def behind_its_back(world: World, text: str, *values: object) -> None:
    """Change ops.db while nobody has it open."""
    with closing(sqlite3.connect(world.site.root / "station" / "ops.db")) as connection, connection:
        connection.execute(text, values)


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("shift", ["+400d", "-400d"])
def test_a_clock_a_year_off_makes_nothing_old(world: World, shift: str) -> None:
    """While the cloud cannot be heard, and once its first answer has come."""
    first = await_state(world, visit(world), "done")
    assert abs(first["settled_at_ms"] - time.time_ns() // 1_000_000) < DAY_MS
    world.site.stop("sync")
    world.relay.set_state("cut")
    world.site.wrappers["sync"] = shifted(shift)
    world.site.start("sync")
    second = visit(world)
    eventually(lambda: query(world, "SELECT 1 FROM operation WHERE next_at_ms > 0"), "a try that the network refuses")
    assert states(world) == ["done", "pending"]
    world.relay.set_state("pass")
    done = await_state(world, second, "done")
    assert abs(done["settled_at_ms"] - time.time_ns() // 1_000_000) < DAY_MS
    del world.site.wrappers["sync"]
    world.site.stop("sync")
    world.site.start("sync")
    await_state(world, visit(world), "done")
    assert states(world) == ["done"] * 3


def test_what_was_settled_a_month_ago_is_forgotten_and_what_had_no_date_gets_one(world: World) -> None:
    old, young, undated = (visit(world) for _ in range(3))
    await_state(world, undated, "done")
    world.site.stop("sync")
    now_ms = time.time_ns() // 1_000_000
    for number, settled_at_ms in ((old, now_ms - 31 * DAY_MS), (young, now_ms - 29 * DAY_MS), (undated, None)):
        behind_its_back(world, "UPDATE operation SET settled_at_ms = ? WHERE id = ?", settled_at_ms, number)
    world.site.start("sync")
    eventually(lambda: not query(world, "SELECT 1 FROM operation WHERE id = ?", old), "the old one is forgotten")
    left = dict(query(world, "SELECT id, settled_at_ms FROM operation"))
    assert set(left) == {young, undated}
    assert left[undated] >= now_ms


def test_the_fleet_s_size_is_on_the_card_once_it_matters(world: World) -> None:
    """A hundred stations more than one: sync hears it with an answer and has it after a restart without a cloud."""
    eventually(world.log.acknowledged, "a first acknowledgement")
    assert query(world, "SELECT stations FROM fleet") == []  # alone, there is nobody to make room for
    world.site.stop("cloud")  # which counts its stations now and then only
    with closing(sqlite3.connect(world.cloud.path, timeout=10)) as connection, connection:
        row = connection.execute("SELECT * FROM station").fetchone()
        names = [column[1] for column in connection.execute("PRAGMA table_info(station)")]
        for number in range(100):
            other = [
                f"other-{number}" if name == "station_id" else value for name, value in zip(names, row, strict=True)
            ]
            connection.execute(f"INSERT INTO station VALUES ({', '.join('?' * len(other))})", other)
    world.site.start("cloud")
    eventually(lambda: query(world, "SELECT stations FROM fleet") == [(101,)], "the fleet's size is kept")
    world.relay.set_state("cut")
    world.site.kill("sync")
    world.site.start("sync")
    eventually(lambda: world.site.status()["sync"]["state"] == "offline", "a sync that hears nothing")
    assert world.site.status()["sync"]["fleet"] == 101
