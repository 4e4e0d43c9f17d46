"""Settings and notices from the operator's command into running services, without a restart, and back as a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from demo.faults import Exchange, Fault
from tests.integration.operations.telling import query, told
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
TRIAL = {"sync": {"trial_s": 4}}


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world(overrides=TRIAL)
    world.start()
    world.await_flow()
    return world


def set_config(world: World, *words: str) -> None:
    world.site.cloud("config", "set", *words)


def progress(world: World) -> dict[str, Any]:
    [found] = json.loads(world.site.cloud("config", "status", "--json"))["stations"]
    return dict(found)


def await_progress(world: World, state: str, version: int) -> dict[str, Any]:
    """What the operator sees, once it is so."""

    def look() -> dict[str, Any] | None:
        found = progress(world)
        return found if (found["state"], found["version"]) == (state, version) else None

    return dict(eventually(look, f"version {version} {state}", every_s=0.3))


def in_force(world: World) -> dict[str, Any]:
    return dict(json.loads(world.site.station("config", "show", "--json")))


def reports(world: World) -> list[dict[str, Any]]:
    """What the station said of configurations, each time."""
    return [json.loads(each.body)["payload"] for each in told(world) if "config_applied" in each.target]


def test_it_is_fetched_applied_without_a_restart_and_reported(world: World) -> None:
    pids = [world.site.pid(name) for name in ("reader", "sync")]
    set_config(world, "--all", "reader.commit_interval_s=0.5", "sync.heartbeat_s=2", "detect.threshold=5.5")
    await_progress(world, "applied", 1)
    assert in_force(world)["settings"] == {
        "reader": {"commit_interval_s": 0.5},
        "sync": {"heartbeat_s": 2},
        "detect": {"threshold": 5.5},
    }
    # The reader has it in force: it says so among its own events, with the document's hash.
    row = world.log.await_kind("config_applied")
    assert json.loads(row.data or "")["sha256"] == in_force(world)["sha256"]
    assert [world.site.pid(name) for name in ("reader", "sync")] == pids
    heartbeats = "SELECT document FROM heartbeat"
    eventually(
        lambda: json.loads(world.cloud.query(heartbeats)[0][0])["config"]["version"] == 1, "the heartbeat says so"
    )


def test_fleet_group_and_station_each_win_over_the_former(world: World) -> None:
    station = world.site.station_id
    set_config(world, "--all", "detect.threshold=4", "sync.linger_s=1", "reader.idle_heartbeat_s=60")
    set_config(world, "--group", "north", "detect.threshold=5", "sync.linger_s=2")
    set_config(world, "--station", station, "detect.threshold=6")
    world.site.cloud("station", "group", station, "north")
    await_progress(world, "applied", progress(world)["version"])
    assert in_force(world)["settings"] == {
        "detect": {"threshold": 6},
        "sync": {"linger_s": 2},
        "reader": {"idle_heartbeat_s": 60},
    }
    set_config(world, "--station", station, "--unset", "detect.threshold")
    await_progress(world, "applied", progress(world)["version"])
    assert in_force(world)["settings"]["detect"] == {"threshold": 5}


def test_a_bad_one_is_refused_with_every_reason_and_the_old_one_stays(world: World) -> None:
    set_config(world, "--all", "detect.threshold=4")
    await_progress(world, "applied", 1)
    set_config(world, "--all", "detect.threshold=0", 'reader.poll_hz="fast"', "meters.tap-9.scale=1", "cloud.url=1")
    refused = await_progress(world, "refused", 2)
    assert refused["reasons"] == [
        "cloud.url: is not a setting that can be changed from afar",
        "detect.threshold: must be from 1.5 to 20, not 0",
        "meters.tap-9: this station has no such meter",
        "reader.poll_hz: must be a number, not 'fast'",
    ]
    assert in_force(world)["settings"] == {"detect": {"threshold": 4}}
    # It is announced on and on, and fetched and answered for once.
    world.await_flow(events=30)
    assert [each["result"] for each in reports(world)] == ["applied", "refused"]
    set_config(world, "--all", "detect.threshold=7", "--unset", "reader.poll_hz", "--unset", "meters.tap-9.scale",
               "--unset", "cloud.url")  # fmt: skip
    await_progress(world, "applied", 3)


def test_a_station_added_offline_catches_up_and_equal_documents_are_no_change(world: World) -> None:
    world.relay.set_state("cut")
    set_config(world, "--all", "detect.threshold=4")
    set_config(world, "--all", "detect.threshold=5")
    set_config(world, "--all", "detect.threshold=4")
    assert progress(world)["state"] == "waiting"
    world.relay.set_state("pass")
    await_progress(world, "applied", 3)
    set_config(world, "--all", "detect.threshold=4")
    assert progress(world)["version"] == 3
    assert [each["result"] for each in reports(world)] == ["applied"]
    history = json.loads(world.site.cloud("config", "history", "--all", "--json"))["versions"]
    assert [each["document"]["detect"]["threshold"] for each in history] == [4, 5, 4]


def _slow(exchange: Exchange) -> Fault:
    return Fault("slow", delay_answer_s=0.6)


def test_one_that_breaks_the_link_is_taken_back_by_itself_and_not_tried_again(world: World) -> None:
    world.relay.policy = _slow
    set_config(world, "--all", "cloud.read_timeout_s=0.1", "detect.threshold=4")
    taken_back = await_progress(world, "rolled-back", 1)
    assert "with the former settings the cloud is reached" in taken_back["reasons"][0]
    assert in_force(world)["settings"] == {}
    world.relay.policy = None
    world.await_flow(events=30)
    assert in_force(world)["settings"] == {}
    # The same document again, under another version, is remembered by its hash, also after a restart.
    world.site.stop("sync")
    world.site.start("sync")
    set_config(world, "--all", "detect.threshold=5", "--unset", "cloud.read_timeout_s")
    await_progress(world, "applied", 2)
    set_config(world, "--all", "detect.threshold=4", "cloud.read_timeout_s=0.1")
    await_progress(world, "rolled-back", 3)
    assert in_force(world)["settings"] == {"detect": {"threshold": 5}}


def test_an_outage_just_after_keeps_it(world: World) -> None:
    set_config(world, "--all", "cloud.read_timeout_s=3")
    eventually(lambda: in_force(world)["trial"], "on trial", every_s=0.1)
    world.relay.set_state("cut")
    eventually(lambda: world.site.status()["sync_state"] == "offline", "offline")
    world.await_flow(events=60)
    # Killed in the middle: the trial goes on where it was.
    world.site.kill("sync")
    world.site.start("sync")
    world.await_flow(events=60)
    assert in_force(world)["trial"]
    world.relay.set_state("pass")
    await_progress(world, "applied", 1)
    assert not in_force(world)["trial"]


def test_polling_twice_as_often_passes_its_trial(world: World) -> None:
    set_config(world, "--all", "reader.poll_hz=40")
    await_progress(world, "applied", 1)
    assert query(world, "SELECT state, baseline IS NOT NULL FROM config") == [("applied", 1)]


def test_a_notice_is_shown_and_acknowledged(world: World) -> None:
    world.site.cloud("notice", "send", "--all", "Filter change on Monday")
    world.site.cloud("notice", "send", "--station", world.site.station_id, "Call Ada")

    def received() -> bool:
        found = json.loads(world.site.cloud("notice", "list", "--json"))["notices"]
        return [bool(each["received_at"]) for each in found] == [True, True]

    eventually(received, "both acknowledged", every_s=0.3)
    said = world.site.station("status")
    assert "Filter change on Monday" in said
    assert "Call Ada" in said
    assert [each.target for each in told(world)] == [
        "/v1/operations/notice_received/1",
        "/v1/operations/notice_received/2",
    ]
