"""Holds and unverified answers from the cloud's real state: shown, kept to, and ended without a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.supervisor import Supervisor
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e

RECHECK: dict[str, dict[str, Any]] = {"sync": {"recheck_s": 3}}


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world(overrides=RECHECK)
    made.start()
    eventually(made.log.acknowledged, "a first acknowledgement")
    return made


def held_by(world: World, code: str) -> None:
    """Wait until sync holds for this reason, and see that nothing advances while it does."""
    eventually(lambda: world.site.status()["sync_state"] == "hold", "sync to hold")
    assert code in world.site.status()["sync"]["text"]
    marks = world.log.acknowledged()
    world.await_flow(events=10)
    assert world.log.acknowledged() == marks


def released(world: World) -> None:
    """Wait until the same process delivers again, and everything that was kept is there."""
    pid = world.site.pid("sync")
    eventually(lambda: world.site.status()["sync_state"] == "online", "sync to be online")
    assert world.site.pid("sync") == pid
    world.settle()
    assert world.cloud.marks() == world.log.last_seqs()


def test_a_retired_station_holds_until_it_is_taken_back(world: World) -> None:
    world.site.cloud("station", "retire", world.site.station_id)
    held_by(world, "retired")
    world.site.cloud("station", "reinstate", world.site.station_id)
    released(world)


def test_old_software_holds_until_it_is_welcome(world: World) -> None:
    world.site.cloud("policy", "minimum-version", "99.0.0")
    held_by(world, "upgrade-required")
    assert "99.0.0" in world.site.status()["sync"]["text"]
    world.site.cloud("policy", "minimum-version", "--none")
    released(world)


def test_a_rate_that_is_kept_to_loses_nothing(world: World) -> None:
    world.site.cloud("policy", "rate-limit", "6/minute")
    eventually(lambda: "rate-limited" in world.site.status()["sync"]["text"], "sync to wait as told")
    world.site.cloud("policy", "rate-limit", "--none")
    world.settle()
    assert world.cloud.marks() == world.log.last_seqs()


def test_a_revoked_key_holds_and_keeps_everything(world: World) -> None:
    world.site.cloud("station", "revoke", world.site.station_id)
    held_by(world, "revoked")
    # The operator makes a new key; the technician brings it. Everything that was kept goes out under it.
    made = json.loads(world.site.cloud("station", "rotate-key", world.site.station_id, "--json"))
    world.site.stop("sync")
    key_file = world.site.root / "station.key"
    key_file.write_text(made["key"] + "\n")
    text = world.site.config_path.read_text()
    world.site.config_path.write_text(text.replace('key_id = "k1"', f'key_id = "{made["key_id"]}"'))
    world.site.start("sync")
    released(world)


def test_systemd_shows_the_hold(make_world: Callable[..., World]) -> None:
    world = make_world(overrides=RECHECK)
    world.start("cloud", "meter:tap-1", "reader")
    world.await_flow(events=5)
    world.site.cloud("station", "retire", world.site.station_id)
    with Supervisor(world.site, "sync") as sync:
        sync.await_status("hold")
        sync.await_status("retired")
        world.site.cloud("station", "reinstate", world.site.station_id)
        sync.await_status("online")
        assert sync.stop() == 0


def test_a_wrong_key_is_shown_as_unverified_and_kept_trying(make_world: Callable[..., World]) -> None:
    world = make_world(overrides=RECHECK)
    world.prepare()
    key_file = world.site.root / "station.key"
    right = key_file.read_text()
    key_file.write_text("0123456789abcdef" * 4 + "\n")
    world.start()
    world.await_flow(events=5)
    eventually(lambda: world.site.status()["sync_state"] == "unverified", "sync to say unverified")
    assert "cloud or a portal says 401" in world.site.status()["sync"]["text"]
    assert world.log.acknowledged() == {}
    seen = len(world.ingests())
    eventually(lambda: len(world.ingests()) > seen, "another try")
    world.site.stop("sync")
    key_file.write_text(right)
    world.site.start("sync")
    released(world)
