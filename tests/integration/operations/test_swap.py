"""`aquasmart meter swap` with the real reader: asked in ops.db, done once whatever is killed, told to the cloud."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from demo.site import program
from tests.integration.operations.telling import await_state, query
from tests.integration.world import STEADY, World, eventually

pytestmark = pytest.mark.e2e
TUF = replace(STEADY, driver="modbus", identity="12345678")


@pytest.fixture
def frozen(make_world: Callable[..., World]) -> World:
    """A station on whose port another meter answers."""
    world = make_world(meters=[TUF])
    world.start("cloud", "meter:tap-1")
    world.take_baseline()
    world.site.start("sync")
    world.await_flow(5)
    world.with_meter(identity="87654321", jump=-700_000)
    await_state_of_meter(world, "frozen")
    return world


def meters(world: World) -> dict[str, Any]:
    return dict(json.loads(world.site.station("meter", "list", "--json"))["meters"][0])


def identities(world: World) -> tuple[str, str | None, str | None]:
    shown = meters(world)
    return shown["state"], shown["identity"], shown["found_identity"]


def await_state_of_meter(world: World, state: str) -> None:
    eventually(lambda: meters(world)["state"] == state, f"tap-1 {state}", every_s=0.3)


def swap(world: World, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [program("aquasmart"), "--config", str(world.site.config_path), "meter", "swap", "tap-1", *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin)


def change_tokens(world: World) -> list[str]:
    """The tokens of the streams that a meter_change row opened."""
    text = "SELECT json_extract(s.header, '$.change_token') FROM event e JOIN stream s USING (stream) WHERE e.kind = 8"
    with closing(sqlite3.connect(f"file:{world.log.path}?mode=ro", uri=True, timeout=10)) as connection:
        return [row[0] for row in connection.execute(text)]


@contextmanager
def ops_locked(world: World) -> Iterator[None]:
    """Somebody else writes to ops.db and does not stop."""
    path = world.site.root / "station" / "ops.db"
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_it_shows_both_serial_numbers_asks_and_the_cloud_is_told(frozen: World) -> None:
    said = swap(frozen, stdin="n\n")
    assert said.returncode == 130
    assert "until now     meter 12345678" in said.stdout
    assert "answers now   meter 87654321, first seen at " in said.stdout
    assert not query(frozen, "SELECT 1 FROM request")
    said = swap(frozen, stdin="y\n")
    assert (said.returncode, said.stderr) == (0, "")
    assert "done" in said.stdout
    [(number, parameters)] = query(frozen, "SELECT id, parameters FROM operation WHERE type = 'meter_change'")
    told = json.loads(parameters)
    assert (told["former_identity"], told["identity"]) == ("12345678", "87654321")
    assert change_tokens(frozen) == [told["change_token"]]
    await_state(frozen, number, "done")
    # The reader answers as soon as the change is in the log, and shows its meters twice a second.
    eventually(lambda: identities(frozen) == ("ok", "87654321", None), "the new meter is shown")
    again = swap(frozen, "--yes")
    assert (again.returncode, "nothing to acknowledge" in again.stderr) == (1, True)


def test_killed_between_the_logs_commit_and_the_answer_it_is_done_once(frozen: World) -> None:
    reader = frozen.site.pid("reader")
    os.kill(reader, signal.SIGSTOP)
    asked = json.loads(swap(frozen, "--yes", "--json", "--wait", "0").stdout)
    assert asked["answer"] is None
    with ops_locked(frozen):
        os.kill(reader, signal.SIGCONT)
        eventually(lambda: change_tokens(frozen), "the change is in the log")
        frozen.site.kill("reader")
    answer = "SELECT answer FROM request"
    assert query(frozen, answer) == [(None,)]
    for _ in range(3):
        frozen.site.start("reader")
        eventually(lambda: query(frozen, answer) == [("done",)], "answered by the next run")
        frozen.site.kill("reader")
    assert change_tokens(frozen) == [asked["change_token"]]
    assert query(frozen, "SELECT count(*) FROM operation WHERE type = 'meter_change'") == [(1,)]


def test_asked_while_the_reader_is_down_it_is_done_when_it_runs(frozen: World) -> None:
    frozen.site.kill("meter:tap-1")
    await_state_of_meter(frozen, "link-down")
    asked = swap(frozen, "--yes", "--json", "--wait", "0.5")
    assert (asked.returncode, json.loads(asked.stdout)["answer"]) == (75, None)
    frozen.site.kill("reader")
    stopped = swap(frozen, "--yes")
    assert (stopped.returncode, "the reader does not run" in stopped.stderr) == (1, True)
    frozen.site.start("meter:tap-1")
    frozen.site.start("reader")
    eventually(lambda: query(frozen, "SELECT answer FROM request") == [("done",)], "done by the next run")
    assert change_tokens(frozen) == [json.loads(asked.stdout)["change_token"]]


def test_another_meter_than_the_one_that_was_shown_is_not_taken(frozen: World) -> None:
    frozen.site.kill("meter:tap-1")
    await_state_of_meter(frozen, "link-down")
    swap(frozen, "--yes", "--wait", "0")
    frozen.with_meter(identity="12345678", jump=700_000)
    eventually(lambda: query(frozen, "SELECT answer IS NULL FROM request") == [(0,)], "refused")
    assert "nothing was changed" in query(frozen, "SELECT answer FROM request")[0][0]
    assert change_tokens(frozen) == []
    assert not query(frozen, "SELECT 1 FROM operation WHERE type = 'meter_change'")
