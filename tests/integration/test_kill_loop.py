"""`kill -9` for any process at any time, again and again; then the books balance to the microlitre.

The moments are drawn from a printed seed; AQUASMART_SEED repeats a run's draws.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.integration.balance import UL_PER_COUNT, assert_books_balance
from tests.integration.world import STEADY, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
MakeWorld = Callable[..., World]
LOOP_S = 60.0
VOLATILE_LOOP_S = 15.0


def dice_of_this_run() -> random.Random:
    """The draws of one run; the seed is printed, and shown when the test fails."""
    seed = int(os.environ.get("AQUASMART_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"AQUASMART_SEED={seed}")
    return random.Random(seed)


def _kill_loop(world: World, dice: random.Random, seconds: float) -> int:
    """Kill one or two processes, wait, start them again, until the time is over. Gives the number of kills."""
    until, kills = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        chosen = dice.sample(world.site.names, dice.choice([1, 1, 2]))
        for name in chosen:
            world.site.kill(name)
            kills += 1
        time.sleep(dice.choice([0.0, 0.1, 0.5, 1.5]))
        for name in chosen:
            world.site.start(name)
        time.sleep(dice.choice([0.05, 0.3, 1.0, 2.5]))
    return kills


def test_killed_for_a_minute_the_books_balance(make_world: MakeWorld) -> None:
    dice = dice_of_this_run()
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline(then="steady")
    world.site.start("sync")
    kills = _kill_loop(world, dice, LOOP_S)
    world.await_flow(events=10)
    world.settle()
    assert kills >= 10
    assert world.log.integrity() == world.cloud.integrity() == "ok"
    assert_books_balance(world)


def test_a_volatile_totaliser_costs_a_named_time_with_its_bound(make_world: MakeWorld) -> None:
    dice = dice_of_this_run()
    world = make_world(meters=[replace(STEADY, volatile=True)])
    world.start()
    world.await_flow(events=10)
    counted_from = next(row.counts for row in world.log.rows() if row.kind == "baseline")
    told_before = world.site.meter_counts()
    _kill_loop(world, dice, VOLATILE_LOOP_S)
    for name in ("reader", "meter:tap-1"):  # once more in the order that loses most
        world.site.kill(name)
    for name in ("meter:tap-1", "reader"):
        world.site.start(name)
    world.await_flow(events=10)
    world.settle()
    status, told = world.site.status(), world.site.meter_counts()
    assert world.cloud.volume_ul() == status["log_ul"] == status["acked_ul"]
    assert world.cloud.marks() == world.log.last_seqs()
    # What the meter itself counted, from where its baseline was taken; told_before is of the same, first register.
    first_lifetime = told_before.lifetime - told_before.counts + counted_from
    meter_ul = int((told.lifetime - first_lifetime) * UL_PER_COUNT)
    resets = [json.loads(row.data or "{}") for row in world.log.rows() if row.kind == "reset"]
    bound_ul = sum(reset["unmeasured_bound_ul"] for reset in resets)
    missing_ul = meter_ul - status["log_ul"]
    print(f"{len(resets)} resets, {missing_ul} µl missing of {meter_ul}, bound {bound_ul}")
    assert resets
    assert all(reset["unmeasured_ms"] >= 0 for reset in resets)
    # Each epoch may round its two ends by a microlitre.
    assert -len(resets) - 1 <= missing_ul <= bound_ul + len(resets) + 1
    # Named in the cloud's books as well, each with its time and its bound, and nothing else is amiss.
    named = world.cloud.query("SELECT detail FROM ledger_entry WHERE kind = 'unmeasured' AND state = 'open'")
    times = sorted(json.loads(detail)["unmeasured_ms"] for (detail,) in named)
    assert times == sorted(reset["unmeasured_ms"] for reset in resets)
    assert world.cloud.differences() == {"unmeasured": bound_ul}
