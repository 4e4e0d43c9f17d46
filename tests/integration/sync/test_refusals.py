"""Permanent refusals that the real cloud seldom gives, from one that answers as told: whole refusals, 413, a header."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from tests.fakes.scripted_cloud import Reply, ScriptedCloud
from tests.integration.sync.test_poison import RECHECK, dead_letters
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e


class Pair:
    def __init__(self, world: World, cloud: ScriptedCloud) -> None:
        self.world, self.cloud = world, cloud
        for name in ("meter:tap-1", "reader"):
            world.site.start(name)
        world.await_flow(events=30)

    def held(self) -> str:
        """Wait for a hold; what is said of it."""
        eventually(lambda: self.world.site.status()["sync_state"] == "hold", "sync to hold")
        return str(self.world.site.status()["sync"]["text"])

    def settle(self) -> None:
        self.world.site.stop("reader")
        self.world.await_delivered()
        books, status = self.cloud.books.state(), self.world.site.status()
        assert books["volume_ul"] == status["log_ul"] == status["acked_ul"]
        assert books["events"] == self.world.log.events()
        assert books["differences"] == {}


@pytest.fixture
def pair(make_world: Callable[..., World]) -> Iterator[Pair]:
    with ScriptedCloud(b"") as cloud:
        world = make_world(upstream_port=cloud.port, overrides=RECHECK)
        world.prepare()
        cloud.key = world.key()
        yield Pair(world, cloud)


@pytest.mark.parametrize(("status", "code"), [(422, "invalid"), (400, "malformed"), (413, "too-large")])
def test_a_deployment_that_refuses_everything_costs_no_dead_letter(pair: Pair, status: int, code: str) -> None:
    repaired = {"asked for": False, "done": False}

    def broken(document: dict[str, Any]) -> Reply:
        """Repaired between two re-checks, not between a row and its gap: that moment is in decision 15."""
        is_gap = any(entry["kind"] == "gap" for entry in document["rows"])
        repaired["done"] |= repaired["asked for"] and not is_gap
        return Reply() if repaired["done"] else Reply(status, code)

    pair.cloud.always = broken
    pair.world.site.start("sync")
    assert "cloud-refuses-everything" in pair.held()
    pid, rounds = pair.world.site.pid("sync"), len(pair.cloud.ingests())
    eventually(lambda: len(pair.cloud.ingests()) > rounds, "a slow re-check")
    assert pair.world.log.acknowledged() == {}
    repaired["asked for"] = True
    eventually(pair.world.log.acknowledged, "a first acknowledgement after the repair")
    pair.settle()
    assert dead_letters(pair.world) == []
    assert pair.world.site.pid("sync") == pid
    # The hold is over, and said to be.
    eventually(lambda: pair.world.site.status()["sync_state"] == "online", "sync to be online")


def test_a_header_that_is_refused_blocks_its_stream_only(pair: Pair) -> None:
    fault: dict[str, Any] = {"errors": [{"where": "$.stream.scale", "what": "as scripted"}]}

    def refuses_the_tap(document: dict[str, Any]) -> Reply:
        return Reply(422, "invalid", fault) if "meter_id" in document["stream"] else Reply()

    pair.cloud.always = refuses_the_tap
    pair.world.site.start("sync")
    assert "header" in pair.held()
    eventually(lambda: pair.cloud.books.state()["events"] > 0, "the stream without a meter to be delivered")
    refused = [seen for seen in pair.cloud.ingests() if seen.status == 422]
    assert len(refused) <= 3
    pair.cloud.always = None
    pair.settle()
    assert dead_letters(pair.world) == []


def test_a_single_row_that_is_too_large_becomes_a_dead_letter(pair: Pair) -> None:
    poison = 13

    def too_large(document: dict[str, Any]) -> Reply:
        first, rows = document["first_seq"], len(document["counts"])
        kinds = {entry["row"]: entry["kind"] for entry in document["rows"]}
        there = document["counts_before"] and first <= poison < first + rows
        return Reply(413, "too-large") if there and kinds.get(poison - first) != "gap" else Reply()

    pair.cloud.always = too_large
    pair.world.site.start("sync")
    pair.settle()
    [letter] = dead_letters(pair.world)
    assert (letter["seq"], letter["code"]) == (poison, "too-large")


def test_a_retry_after_that_is_a_date_is_waited(pair: Pair) -> None:
    pair.cloud.script.append(
        Reply(503, "unavailable", headers={"Retry-After": formatdate(time.time() + 4, usegmt=True)})
    )
    pair.world.site.start("sync")
    eventually(lambda: len(pair.cloud.ingests()) >= 2, "the second request")
    first, second = pair.cloud.ingests()[:2]
    assert second.at_mono - first.at_mono >= 1
    pair.settle()
