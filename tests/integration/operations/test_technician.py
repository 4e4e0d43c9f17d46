"""What a technician does at a running station: calibrate, drain, visit, watch. Real commands at real terminals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from demo.site import program
from tests.integration.operations.telling import await_state, operation, query
from tests.integration.terminal import Terminal
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e
ESCAPE = "\x1b["


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A station whose tap is shut and whose network works."""
    world = make_world()
    world.start("cloud", "meter:tap-1")
    world.take_baseline(then="idle")
    world.site.start("sync")
    return world


def run(world: World, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [program("aquasmart"), "--config", str(world.site.config_path), *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=120)


def scales(world: World) -> list[dict[str, int]]:
    return [json.loads(row[0])["value"] for row in query(world, "SELECT document FROM config WHERE origin = 'local'")]


# Calibrate


def pour(world: World, counts: int = 400) -> int:
    """Water through the meter: the counts it gave, by its own file."""
    before = world.site.meter_counts().counts
    world.with_pattern("steady")
    eventually(lambda: world.site.meter_counts().counts >= before + counts, "the vessel is full")
    world.with_pattern("idle")
    return world.site.meter_counts().counts - before


def test_a_pour_gives_the_k_factor_exactly_and_it_is_in_force(world: World) -> None:
    terminal = Terminal(world.site.config_path, "meter", "calibrate", "tap-1")
    terminal.await_text("press Enter")
    counts = pour(world)
    terminal.say("\n")
    terminal.await_text("How many litres")
    litres = Fraction(counts * 102, 100 * 450).limit_denominator(1000)
    volume_ul = round(litres * 1_000_000)
    terminal.say(f"{volume_ul / 1_000_000:.6f}\n")
    terminal.await_text("from now on?")
    terminal.say("y\n")
    assert terminal.end() == 0
    exact = Fraction(volume_ul, counts)
    assert scales(world) == [{"ul_num": exact.numerator, "den": exact.denominator}]
    assert f"{counts} counts for" in terminal.seen
    assert "class 2 %" in terminal.seen
    await_state(world, 1, "done")
    value = operation(world, 1)["parameters"]["value"]
    assert Fraction(value["ul_num"], value["den"]) * counts == volume_ul


@pytest.mark.parametrize("at", ["press Enter", "How many litres", "from now on?"])
def test_interrupted_anywhere_nothing_is_changed(world: World, at: str) -> None:
    terminal = Terminal(world.site.config_path, "meter", "calibrate", "tap-1")
    for question, answer in (("press Enter", "\n"), ("How many litres", "0.9\n"), ("from now on?", "")):
        terminal.await_text(question)
        if question == at:
            break
        if question == "press Enter":
            pour(world)
        terminal.say(answer)
    terminal.interrupt()
    assert terminal.end() == 130
    assert scales(world) == []
    assert query(world, "SELECT 1 FROM operation") == []


def test_what_is_far_off_is_not_taken_without_being_asked(world: World) -> None:
    words = ["meter", "calibrate", "tap-1", "--volume", "5", "--yes", "--json"]
    done = subprocess.Popen(
        [program("aquasmart"), "--config", str(world.site.config_path), *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.stderr is not None
    said = ""
    while "press Enter" not in said:
        more = done.stderr.read(1)
        assert more, said
        said += more
    counts = pour(world, 200)
    out, _ = done.communicate("\n", timeout=60)
    document = json.loads(out)
    assert done.returncode == 1
    assert (document["suspicious"], document["applied"], document["pours"][0]["counts"]) == (True, False, counts)
    assert scales(world) == []


def test_without_water_or_reader_it_says_so(world: World) -> None:
    dry = run(world, "meter", "calibrate", "tap-1", "--volume", "5", stdin="\n")
    assert (dry.returncode, "has not counted anything" in dry.stderr) == (1, True)
    wrong = run(world, "meter", "calibrate", "tap-1", "--volume", "five")
    assert (wrong.returncode, "no number of litres" in wrong.stderr) == (2, True)
    world.site.stop("reader")
    gone = run(world, "meter", "calibrate", "tap-1", "--volume", "5", stdin="\n")
    assert (gone.returncode, "the reader does not run" in gone.stderr) == (1, True)


# Drain


def test_drain_waits_until_all_is_delivered_and_shows_a_bar(world: World) -> None:
    world.await_delivered()
    world.relay.set_state("cut")
    world.with_pattern("steady")
    world.await_flow(20)
    world.with_pattern("idle")
    waiting = run(world, "drain", "--wait", "--timeout", "1", "--json")
    assert (waiting.returncode, json.loads(waiting.stdout)["delivered"]) == (75, 0)
    terminal = Terminal(world.site.config_path, "drain", "--wait")
    terminal.await_text("0/")
    world.relay.set_state("pass")
    assert terminal.end() == 0, terminal.seen
    assert "everything is delivered" in terminal.seen
    assert "━" in terminal.seen
    eventually(lambda: query(world, "SELECT count(*) FROM request WHERE answer = 'done'") == [(2,)], "answered")
    assert world.log.pending() >= 0
    piped = run(world, "drain", "--wait")
    assert (piped.returncode, ESCAPE in piped.stdout) == (0, False)


def test_ctrl_c_ends_the_waiting_and_the_request_stays(world: World) -> None:
    world.await_delivered()
    world.relay.set_state("cut")
    world.with_pattern("steady")
    world.await_flow(10)
    world.with_pattern("idle")
    terminal = Terminal(world.site.config_path, "drain", "--wait")
    terminal.await_text("0/")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "sync goes on" in terminal.seen
    assert query(world, "SELECT answer FROM request") == [(None,)]
    world.site.kill("sync")
    world.relay.set_state("pass")
    stopped = run(world, "drain", "--wait", "--timeout", "1")
    assert (stopped.returncode, "sync does not run" in stopped.stderr) == (75, True)
    world.site.start("sync")
    eventually(lambda: query(world, "SELECT count(*) FROM request WHERE answer = 'done'") == [(2,)], "goes on with it")


def test_a_drain_does_not_wait_for_company(make_world: Callable[..., World]) -> None:
    world = make_world(overrides={"sync": {"linger_s": 3600}})
    world.start("cloud", "meter:tap-1")
    world.take_baseline(then="idle")
    world.site.start("sync")
    eventually(lambda: world.site.status()["sync_state"] == "online", "online")
    world.with_pattern("steady")
    world.await_flow(3)
    world.with_pattern("idle")
    assert world.log.pending() > 0
    assert run(world, "drain", "--wait", "--timeout", "60").returncode == 0


# Visit


def test_a_visit_begins_is_noted_and_ends_once(world: World) -> None:
    nobody = run(world, "visit", "end")
    assert (nobody.returncode, "no visit is under way" in nobody.stderr) == (1, True)
    assert run(world, "visit", "start", "--technician", "Zoë").returncode == 0
    twice = run(world, "visit", "start", "--technician", "Ada")
    assert (twice.returncode, "Zoë's visit has not ended" in twice.stderr) == (1, True)
    assert run(world, "visit", "note", "new filter").returncode == 0
    long = run(world, "visit", "note", "x" * 201)
    assert (long.returncode, "at most 200 characters" in long.stderr) == (1, True)
    assert "Zoë has been here for" in run(world, "visit", "show").stdout
    ended = json.loads(run(world, "visit", "end", "--note", "all well", "--json").stdout)
    assert json.loads(run(world, "visit", "show", "--json").stdout) == {"visit": None}
    for number in range(1, ended["operation"] + 1):
        await_state(world, number, "done")
    told = [operation(world, number)["parameters"] for number in range(1, 4)]
    assert [each["phase"] for each in told] == ["start", "note", "end"]
    assert {each["visit"] for each in told} == {ended["visit"]["id"]}
    assert told[2]["started_at_ms"] == told[0]["visited_at_ms"]


# Watch and looks


def test_watch_is_live_at_a_terminal_and_lines_in_a_pipe(world: World) -> None:
    terminal = Terminal(world.site.config_path, "watch", "--every", "0.3")
    terminal.await_text("tap-1")
    terminal.interrupt()
    assert terminal.end() == 130
    assert ESCAPE in terminal.seen
    lines = run(world, "watch", "-n", "2", "--every", "0.2").stdout.splitlines()
    assert len(lines) == 2
    assert all("tap-1 ok" in line and ESCAPE not in line for line in lines)
    documents = run(world, "watch", "-n", "2", "--every", "0.2", "--json").stdout.splitlines()
    assert [json.loads(each)["station_id"] for each in documents] == ["demo-1"] * 2


def coloured(world: World, **environment: str) -> bool:
    terminal = Terminal(world.site.config_path, "status", environment=environment)
    assert terminal.end() == 0
    return "\x1b[32m" in terminal.seen


def test_colours_are_for_terminals_that_want_them(world: World) -> None:
    assert coloured(world)
    assert not coloured(world, NO_COLOR="1")
    assert ESCAPE not in run(world, "status").stdout


def test_every_listing_is_json_too(world: World) -> None:
    listings: list[list[str]] = [
        ["status"], ["doctor", "--offline"], ["clock"], ["meter", "list"], ["operations", "list"], ["config", "show"],
        ["dead-letters", "list"], ["visit", "show"], ["drain"],
    ]  # fmt: skip
    for words in listings:
        done = run(world, *words, "--json")
        found: Any = json.loads(done.stdout)
        assert isinstance(found, dict | list), words


def test_what_changes_something_says_so_in_json_too(world: World) -> None:
    asked = json.loads(run(world, "operations", "retry", "1", "--json").stdout)
    assert asked["answer"] == "there is no such operation"
    target = world.site.root / "letters.jsonl"
    assert json.loads(run(world, "dead-letters", "export", str(target), "--json").stdout)["dead_letters"] == 0
    for name in ("reader", "sync"):
        world.site.stop(name)
    refused = run(world, "reset", "--factory", "--json")
    done = refused if refused.returncode == 0 else run(world, "reset", "--factory", "--abandon", "--json")
    document = json.loads(done.stdout)
    assert (document["wiped"], document["key_removed"]) == (True, False)
    assert document["abandoned"]["volume_ul"] == 0
    assert not world.log.path.exists()
