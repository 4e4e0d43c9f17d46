"""What a rightly signed answer makes the station do (docs/protocol.md §6), seen from the other end of the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.fakes.scripted_cloud import Reply, ScriptedCloud
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e

SEARCH = 8
"""Requests that a search among a first batch of 50 rows may take: six halvings, the row, its gap."""


class Pair:
    """A station that runs for real against a cloud that answers as told."""

    def __init__(self, world: World, cloud: ScriptedCloud) -> None:
        self.world, self.cloud = world, cloud

    def start(self) -> None:
        for name in ("meter:tap-1", "reader", "sync"):
            self.world.site.start(name)

    def await_ingests(self, count: int) -> None:
        eventually(lambda: len(self.cloud.ingests()) >= count, f"{count} ingest requests")

    def sync_state(self) -> str:
        return str(self.world.site.status()["sync_state"])

    def assert_all_delivered(self) -> None:
        """Every event the log holds is in the cloud's books, once."""
        self.world.site.stop("reader")
        self.world.await_delivered()
        status = self.world.site.status()
        books = self.cloud.books.state()
        assert books["events"] == self.world.log.events()
        assert books["volume_ul"] == status["log_ul"] == status["acked_ul"]
        assert books["differences"] == {}


@pytest.fixture
def pair(make_world: Callable[..., World]) -> Iterator[Pair]:
    with ScriptedCloud(b"") as cloud:
        world = make_world(upstream_port=cloud.port)
        world.prepare()
        cloud.key = world.key()
        yield Pair(world, cloud)


def test_without_a_script_everything_arrives_once(pair: Pair) -> None:
    pair.start()
    pair.await_ingests(3)
    pair.assert_all_delivered()
    assert all(seen.status == 200 for seen in pair.cloud.seen)


def test_a_signed_retry_after_is_waited(pair: Pair) -> None:
    pair.cloud.script.append(Reply(503, "unavailable", headers={"Retry-After": "2"}))
    pair.start()
    pair.await_ingests(2)
    first, second = pair.cloud.ingests()[:2]
    assert second.at_mono - first.at_mono >= 2
    pair.assert_all_delivered()


def test_a_transient_fault_is_tried_again(pair: Pair) -> None:
    pair.cloud.script += [Reply(status, "as scripted") for status in (500, 502, 504, 408)]
    pair.start()
    pair.await_ingests(5)
    first = pair.cloud.ingests()[:5]
    assert len({(seen.document["stream"]["id"], seen.document["first_seq"]) for seen in first}) == 1
    pair.assert_all_delivered()


def test_413_halves_the_batch_until_it_fits(pair: Pair) -> None:
    def small(document: dict[str, Any]) -> Reply:
        return Reply(413, "too-large") if len(document["counts"]) > 10 else Reply()

    for name in ("meter:tap-1", "reader"):
        pair.world.site.start(name)
    pair.world.await_flow(events=45)
    pair.cloud.always = small
    pair.start()
    pair.assert_all_delivered()
    sizes = [len(seen.document["counts"]) for seen in pair.cloud.ingests() if seen.document["counts_before"]]
    assert max(sizes) > 10
    assert all(after <= before // 2 for before, after in pairwise(sizes) if before > 10)


def test_stream_unknown_brings_the_whole_header(pair: Pair) -> None:
    pair.start()
    pair.await_ingests(3)
    before = len(pair.cloud.ingests())
    pair.cloud.script.append(Reply(409, "stream-unknown"))
    pair.await_ingests(before + 3)
    refused = next(index for index, seen in enumerate(pair.cloud.ingests()) if seen.status == 409)
    again = pair.cloud.ingests()[refused + 1]
    assert again.document["stream"]["id"] == pair.cloud.ingests()[refused].document["stream"]["id"]
    assert set(again.document["stream"]) >= {"opened_at", "boot_id", "hardware_id", "software", "clock"}
    pair.assert_all_delivered()


def test_sequence_gap_rewinds(pair: Pair) -> None:
    pair.start()
    pair.await_ingests(4)

    def forgot(document: dict[str, Any]) -> Reply:
        opening = 1_000_000 if document["counts_before"] else 0
        return Reply(409, "sequence-gap", {"expected_seq": 1, "counts_through": opening})

    pair.cloud.script.append(forgot)
    eventually(lambda: any(s.status == 409 for s in pair.cloud.ingests()), "the refusal")
    refused = next(seen for seen in pair.cloud.ingests() if seen.status == 409)
    stream = refused.document["stream"]["id"]

    def rewound() -> bool:
        later = [seen for seen in pair.cloud.ingests() if seen.at_mono > refused.at_mono]
        return any(s.document["stream"]["id"] == stream and s.document["first_seq"] == 1 for s in later)

    eventually(rewound, "a batch that begins at seq 1 again")
    pair.assert_all_delivered()


@pytest.mark.parametrize("hours", [-7, 5], ids=["the station is fast", "the station is slow"])
def test_a_clock_that_differs_costs_one_request(make_world: Callable[..., World], hours: int) -> None:
    with ScriptedCloud(b"", clock_offset_ms=hours * 3_600_000) as cloud:
        world = make_world(upstream_port=cloud.port)
        world.prepare()
        cloud.key = world.key()
        pair = Pair(world, cloud)
        pair.start()
        eventually(lambda: sum(seen.status == 200 for seen in cloud.ingests()) >= 3, "three batches taken")
        # The first ingest and the first heartbeat may each meet it before the other has learned.
        assert sum(seen.status == 401 for seen in cloud.seen) <= 2
        pair.assert_all_delivered()


@pytest.mark.parametrize(("status", "code"), [(403, "revoked"), (422, "invalid")])
def test_a_signed_refusal_holds_and_keeps_everything(pair: Pair, status: int, code: str) -> None:
    pair.cloud.always = Reply(status, code)
    pair.start()
    pair.await_ingests(1)
    eventually(lambda: pair.sync_state() == "hold", "sync to hold")
    pair.world.await_flow(events=20)
    assert pair.world.log.acknowledged() == {}
    # A refused key is asked about once; refused rows are searched for, in each of the two streams, and then held.
    assert len(pair.cloud.ingests()) <= (2 if status == 403 else 2 * SEARCH)
    assert code in pair.world.site.status()["sync"]["text"]
    # Repaired, and the station started again: everything is still there.
    pair.cloud.always = None
    pair.world.site.stop("sync")
    pair.world.site.start("sync")
    pair.assert_all_delivered()


def test_an_acknowledgement_without_sense_moves_no_mark(pair: Pair) -> None:
    wrong = [
        Reply(meta={"trace_id": "f" * 32}),
        Reply(data={"stream": "0b9c2f4e-8d43-4a55-9d1e-6f1f4f6f2a10"}),
        Reply(data={"acked_through": "3"}),
        Reply(data={"acked_through": -1}),
        Reply(data={"counts_through": 1.5}),
    ]
    pair.cloud.script += wrong
    pair.start()
    pair.await_ingests(len(wrong) + 1)
    first = pair.cloud.ingests()[: len(wrong) + 1]
    assert len({(seen.document["stream"]["id"], seen.document["first_seq"]) for seen in first}) == 1
    pair.assert_all_delivered()


def test_more_acknowledged_than_sent_is_capped(pair: Pair) -> None:
    def generous(document: dict[str, Any]) -> Reply:
        return Reply(data={"acked_through": 1_000_000_000, "counts_through": 999_999_999})

    pair.cloud.script += [generous] * 4
    pair.start()
    pair.await_ingests(6)
    sent = {seen.document["stream"]["id"]: seen.through_seq for seen in pair.cloud.ingests()}
    assert all(mark <= sent[stream] for stream, mark in pair.world.log.acknowledged().items())
    pair.assert_all_delivered()
