"""A technician calibrates a meter on the spot: at once, told to the cloud, confirmed, refused or in conflict; exact."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from tests.integration.operations.telling import await_state, operation, query, told
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
K_450 = (20000, 9)
K_440 = (25000, 11)


class Piece(NamedTuple):
    """One stream of the meter, as the log has it."""

    scale: tuple[int, int]
    token: str | None
    opening: int
    last: int

    def volume_ul(self, scale: tuple[int, int] | None = None) -> int:
        """By fractions, not by the product's prices."""
        price = Fraction(*(scale or self.scale))
        return int(self.last * price) - int(self.opening * price)


def pieces(world: World) -> list[Piece]:
    with closing(sqlite3.connect(f"file:{world.log.path}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT s.header, max(e.counts) FROM stream s JOIN event e USING (stream) WHERE s.meter_id = 'tap-1'"
            " GROUP BY s.stream ORDER BY s.stream"
        ).fetchall()
    headers = [(json.loads(text), last) for text, last in found]
    return [
        Piece((h["scale"]["ul_num"], h["scale"]["den"]), h["change_token"], h["opening_counts"], last)
        for h, last in headers
    ]


def since_the_last_plain_one(found: list[Piece]) -> list[Piece]:
    """Without the streams before: the simulated meter was restarted to begin its flow."""
    while len(found) > 1 and all((each.scale, each.token) == (K_450, None) for each in found[:2]):
        found = found[1:]
    return found


def calibrate(world: World, k_factor: str = "440") -> dict[str, Any]:
    return dict(json.loads(world.site.station("meter", "scale", "tap-1", "--k-factor", k_factor, "--json")))


def await_scale(world: World, scale: tuple[int, int]) -> None:
    """The reader writes under this scale, in a stream of its own, without having been restarted."""
    reader = world.site.pid("reader")
    eventually(lambda: pieces(world)[-1].scale == scale, f"a stream under {scale}")
    assert world.site.pid("reader") == reader


def assert_tiled_and_balanced(world: World, differences: dict[str, int]) -> None:
    """Streams tile the meter's counts; log = cloud = the sum of the pieces, each at its own price."""
    found = pieces(world)
    assert [each.opening for each in found[1:]] == [each.last for each in found[:-1]]
    assert found[-1].last == world.site.meter_counts().lifetime
    total_ul = sum(each.volume_ul() for each in found)
    status = world.site.status()
    assert (status["log_ul"], status["acked_ul"], world.cloud.volume_ul()) == (total_ul,) * 3
    assert world.cloud.differences() == differences


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world(execed=True)
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(events=10)
    return world


def test_q11_a_calibration_acts_at_once_and_is_confirmed(world: World) -> None:
    made = calibrate(world)
    await_scale(world, K_440)
    await_state(world, made["operation"], "done")
    assert query(world, "SELECT state, version FROM config WHERE origin = 'local'")[0][1] == 1
    eventually(lambda: world.site.status()["config"]["version"] == 1, "the cloud's document is here")
    assert world.site.status()["config"]["unconfirmed"] == []
    world.await_flow()
    world.site.stop("reader")
    world.site.start("reader")
    world.await_flow()
    world.settle()
    found = since_the_last_plain_one(pieces(world))
    assert [(each.scale, each.token) for each in found] == [
        (K_450, None),
        (K_440, made["change_token"]),
        (K_440, None),
    ]
    assert_tiled_and_balanced(world, {})
    document = json.loads(world.site.cloud("config", "show", "--station", world.site.station_id, "--json"))
    assert document["document"]["meters"]["tap-1"]["scale"] == {"ul_num": 25000, "den": 11}


def test_q12_a_refused_calibration_is_rolled_back_and_its_difference_named(world: World) -> None:
    world.site.cloud("config", "policy", "scale_change_ppm_max=10000")
    world.relay.set_state("cut")
    made = calibrate(world)
    await_scale(world, K_440)
    world.await_flow(events=20)
    # A reader that restarts meanwhile goes on at the unconfirmed price, under the same token.
    world.site.kill("reader")
    world.site.start("reader")
    world.await_flow(events=20)
    assert "not confirmed" in world.site.station("status")
    world.relay.set_state("pass")
    refused = await_state(world, made["operation"], "refused")
    assert (refused["code"], refused["attempts"]) == ("change-refused", 1)
    await_scale(world, K_450)
    world.await_flow()
    world.settle()
    found = since_the_last_plain_one(pieces(world))
    token = made["change_token"]
    assert [(each.scale, each.token) for each in found] == [
        (K_450, None),
        (K_440, token),
        (K_440, token),
        (K_450, None),
    ]
    difference_ul = sum(each.volume_ul(K_440) - each.volume_ul(K_450) for each in found[1:3])
    assert difference_ul > 0
    assert_tiled_and_balanced(world, {"scale-refused": difference_ul})
    assert "ROLLED BACK" in world.site.station("config", "show")
    assert "scale_change" not in world.site.station("status")
    assert "refused" in world.site.station("status")


def test_seven_days_offline_and_one_attempt(world: World) -> None:
    world.relay.set_state("cut")
    made = calibrate(world)
    await_scale(world, K_440)
    # Time offline is time without an answer: nothing counts, whatever has been tried.
    eventually(lambda: world.site.status()["sync_state"] == "offline", "offline")
    world.await_flow(events=40)
    world.relay.set_state("pass")
    assert await_state(world, made["operation"], "done")["attempts"] == 1
    world.settle()
    assert_tiled_and_balanced(world, {})


def test_q10_c4_another_setting_moved_the_change_is_made_again_with_a_new_key(world: World) -> None:
    world.relay.set_state("cut")
    made = calibrate(world)
    world.site.cloud("config", "set", "--all", "detect.threshold=4")
    world.relay.set_state("pass")
    first = await_state(world, made["operation"], "superseded")
    # The new document is told of, too (config_applied), before or after: the latest change is the one looked for.
    latest = "SELECT max(id) FROM operation WHERE type = 'local_change'"
    second = await_state(world, query(world, latest)[0][0], "done")
    assert first["idempotency_key"] != second["idempotency_key"]
    assert first["txn_token"] == second["txn_token"] == made["change_token"]
    eventually(lambda: world.site.status()["config"]["version"] == 2, "both are one document")
    settings = world.site.status()["config"]["settings"]
    assert settings == {"detect": {"threshold": 4}, "meters": {"tap-1": {"scale": {"ul_num": 25000, "den": 11}}}}
    world.settle()
    assert_tiled_and_balanced(world, {})


def test_q10_the_same_setting_moved_the_cloud_wins_until_a_technician_decides(world: World) -> None:
    world.relay.set_state("cut")
    made = calibrate(world)
    await_scale(world, K_440)
    world.await_flow()
    station = world.site.station_id
    world.site.cloud("config", "set", "--station", station, 'meters.tap-1.scale={"ul_num": 2000, "den": 1}')
    world.relay.set_state("pass")
    await_state(world, made["operation"], "conflict")
    await_scale(world, (2000, 1))
    assert "conflict" in world.site.station("status")
    said = world.site.station("operations", "resolve", str(made["operation"]), "--keep", "mine")
    assert "made anew" in said
    number = query(world, "SELECT max(id) FROM operation WHERE type = 'local_change'")[0][0]
    await_state(world, number, "done")
    await_scale(world, K_440)
    assert operation(world, made["operation"])["state"] == "superseded"
    assert any(each.headers["if-match"] == "1" for each in told(world) if "local_change" in each.target)
    world.settle()
    assert_tiled_and_balanced(world, {})


def test_a_scale_out_of_bounds_changes_nothing(world: World) -> None:
    from demo.site import SiteError

    for words in (("--ul-per-count", "0"), ("--k-factor", "x"), ("--ul-per-count", str(1 << 41)), ()):
        with pytest.raises(SiteError):
            world.site.station("meter", "scale", "tap-1", *words)
    assert query(world, "SELECT count(*) FROM config") == [(0,)]
