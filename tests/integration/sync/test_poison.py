"""Rows that the cloud refuses for good: found, set aside, and nothing else held up or lost. The real two sides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from demo.site import program
from tests.integration.balance import assert_books_balance
from tests.integration.sync.poisoned import TOO_DEEP, mend, poison, tap_stream, world_with_rows
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e

RECHECK: dict[str, dict[str, Any]] = {"sync": {"recheck_s": 2}}


def aquasmart(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("aquasmart"), "--config", str(world.site.config_path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def dead_letters(world: World) -> list[dict[str, Any]]:
    done = aquasmart(world, "dead-letters", "list", "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["dead_letters"])


@pytest.mark.parametrize(
    "places",
    [[0], [-1], [20, 21], [3, 17, 33]],
    ids=["at the head", "at the tail", "two adjacent", "three in the middle"],
)
def test_each_poison_row_alone_becomes_a_dead_letter(make_world: Callable[..., World], places: list[int]) -> None:
    world = world_with_rows(make_world(), 45)
    number, stream, seqs = tap_stream(world.log.path)
    bad = [seqs[place] for place in places]
    poison(world.log.path, number, stream, bad)
    world.start("cloud", "sync")
    world.await_delivered()
    letters = dead_letters(world)
    assert sorted(each["seq"] for each in letters) == sorted(bad)
    assert {each["code"] for each in letters} == {"invalid"}
    assert all(each["trace_id"] in world.site.log_tail("cloud", 10_000) for each in letters)
    # In the cloud a gap stands in their place, and the books are exact: their counts are in it.
    kinds = world.cloud.query("SELECT seq, kind FROM notable WHERE kind = 'gap' ORDER BY seq")
    assert [seq for seq, _ in kinds] == sorted(bad)
    if 0 not in places:  # without its baseline a meter's former life is unknown: named, and not what is tried here
        assert_books_balance(world)
    told = f"{len(bad)} refused for good"
    eventually(lambda: told in world.site.status()["sync"]["text"], "status to speak of them")


def test_what_is_said_of_a_dead_letter_and_its_file(make_world: Callable[..., World]) -> None:
    world = world_with_rows(make_world(), 20)
    number, stream, seqs = tap_stream(world.log.path)
    assert "no dead letters" in aquasmart(world, "dead-letters", "list").stdout
    poison(world.log.path, number, stream, [seqs[5]])
    world.start("cloud", "sync")
    world.await_delivered()
    assert f"{stream}:{seqs[5]}" in aquasmart(world, "dead-letters", "list").stdout
    shown = aquasmart(world, "dead-letters", "show", f"{str(stream)[:8]}:{seqs[5]}")
    assert "more than 16384 bytes" in shown.stdout
    missing = aquasmart(world, "dead-letters", "show", "0000:1")
    assert missing.returncode == 1
    assert "list` shows" in missing.stderr
    target = world.site.root / "letters.jsonl"
    assert "1 dead letter" in aquasmart(world, "dead-letters", "export", str(target)).stdout
    [line] = target.read_text().splitlines()
    document = json.loads(line)
    assert document["row"]["data"]["note"].startswith("xxx")
    assert document["header"]["id"] == str(stream)


def test_a_retry_puts_the_event_in_its_gap_s_place_and_adds_no_volume(make_world: Callable[..., World]) -> None:
    world = world_with_rows(make_world(), 20)
    number, stream, seqs = tap_stream(world.log.path)
    poison(world.log.path, number, stream, [seqs[7]], TOO_DEEP)
    world.start("cloud", "sync")
    world.await_delivered()
    name, volume_ul = f"{stream}:{seqs[7]}", world.cloud.volume_ul()

    def stands() -> list[str]:
        query = "SELECT kind FROM notable WHERE stream = ? AND seq = ?"
        return [row[0] for row in world.cloud.query(query, (stream.hex, seqs[7]))]

    assert stands() == ["gap"]
    for _ in range(2):
        queued = aquasmart(world, "dead-letters", "retry", name)
        assert queued.returncode == 0, queued.stderr
        assert "queued as operation" in queued.stdout
        eventually(lambda: stands() == ["anomaly"], "the event in its gap's place")
        eventually(lambda: dead_letters(world)[0]["resent_at"], "the dead letter to be marked")
    assert world.cloud.volume_ul() == volume_ul
    eventually(lambda: "refused for good" not in world.site.status()["sync"]["text"], "the status to forget it")
    assert_books_balance(world)


def test_more_than_ten_an_hour_is_the_cloud_s_fault_and_other_streams_go_on(make_world: Callable[..., World]) -> None:
    world = world_with_rows(make_world(overrides=RECHECK), 40)
    number, stream, seqs = tap_stream(world.log.path)
    bad = seqs[5:17]
    poison(world.log.path, number, stream, bad)
    world.start("cloud", "sync")
    eventually(lambda: world.site.status()["sync_state"] == "hold", "sync to hold")
    status = world.site.status()
    assert "cloud-refuses-everything" in status["sync"]["text"]
    assert len(dead_letters(world)) == 10
    assert world.log.acknowledged()[str(stream)] == bad[9]
    # A new run of the reader: its streams are other streams, and they are delivered.
    world.site.start("reader")
    world.await_flow(events=10)
    others = {name for name, seq in world.log.last_seqs().items() if name != str(stream) and seq > 3}
    eventually(lambda: others <= set(world.log.acknowledged()), "the other streams' marks")
    # The software that wrote such rows is mended: the hold ends by itself, nothing was lost.
    world.site.stop("sync")
    mend(world.log.path, number, stream, bad[10:])
    world.site.start("sync")
    world.settle()
    assert len(dead_letters(world)) == 10
    assert_books_balance(world)
    eventually(lambda: world.site.status()["sync_state"] == "online", "sync to say so")
