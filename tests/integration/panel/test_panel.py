"""The panel as a technician meets it: real services behind it, a real socket before it, nothing in between."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from demo.site import program
from demo.specs import MeterSpec
from tests.integration.panel.door import PIN, Door, answers, opened
from tests.integration.world import World, eventually
from tests.prometheus import parse

pytestmark = pytest.mark.e2e
MakeDoor = Callable[..., tuple[World, Door]]


@pytest.fixture
def make_door(make_world: Callable[..., World]) -> Iterator[MakeDoor]:
    doors: list[Door] = []

    def make(*, pin: bool = True, running: bool = True, **panel: Any) -> tuple[World, Door]:
        world = make_world(overrides={"panel": {"pin_file": "panel.pin", **panel}})
        world.start(*(() if running else ("meter:tap-1",)))
        if pin:
            command = [program("aquasmart"), "--config", str(world.site.config_path), "pin", "set", "--stdin"]
            subprocess.run(command, input=f"{PIN}\n", text=True, check=True)
        doors.append(Door(world.site.config_path, world.site.root / "logs" / "panel.log"))
        return world, opened(doors[-1])

    yield make
    for door in doors:
        door.close()


def state(door: Door) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(door.ask("/api/state")[1])
    return found


def test_it_shows_what_the_station_counts_without_its_key(make_door: MakeDoor) -> None:
    """The panel's user may not read the key: here the file is not even there any more."""
    world, door = make_door(pin=False)
    world.await_flow()
    (world.site.root / "station.key").unlink()
    eventually(lambda: state(door)["health"]["state"] == "healthy", "a healthy station")
    eventually(lambda: state(door)["today_ul"] > 0, "today's volume")
    world.settle()
    shown = state(door)
    assert shown["today_ul"] == shown["log_ul"] == world.cloud.volume_ul()
    assert shown["health"]["state"] == "dead"
    assert "reader" in {each["what"] for each in shown["attention"]}
    page = door.ask("/")[1]
    assert "No technician PIN is set" in page
    assert "does not run" in page


def test_a_station_without_a_log_is_shown_all_the_same(make_door: MakeDoor) -> None:
    _, door = make_door(running=False)
    status, page, _ = door.ask("/")
    assert status == 200
    assert "Dead" in page or "dead" in page
    assert "there is no log" in page


def test_the_outside_and_other_names_get_nothing(make_door: MakeDoor) -> None:
    _, door = make_door(running=False)
    for name in ("evil.example", "evil.example:80", "aquasmart.local.evil.example"):
        status, text, _ = door.ask("/api/state", headers={"Host": name})
        assert (status, "station_id" in text) == (400, False)
    for name in ("aquasmart.local", f"127.0.0.1:{door.port}", "[::1]:80", "demo-1.local"):
        assert door.ask("/", headers={"Host": name})[0] == 200


def test_a_network_that_is_not_its_own_is_refused(make_world: Callable[..., World]) -> None:
    world = make_world(overrides={"panel": {"networks": ["192.0.2.0/24"]}})
    world.prepare()
    door = Door(world.site.config_path, world.site.root / "logs" / "panel.log")
    try:
        door.start()
        for path in ("/", "/api/state", "/metrics", "/static/panel.css"):
            assert eventually(lambda path=path: door.ask(path)[0], "an answer") == 403  # type: ignore[misc]
    finally:
        door.close()


def test_it_ends_at_once_while_many_are_asking(make_door: MakeDoor) -> None:
    """A signal that meets the server in the middle of a connection is not that connection's fault to swallow."""
    _, door = make_door(running=False)
    for _ in range(5):
        asking = threading.Event()
        asking.set()
        browsers = [threading.Thread(target=_ask_until, args=(door, asking)) for _ in range(4)]
        for each in browsers:
            each.start()
        time.sleep(0.3)
        os.kill(door.pid, signal.SIGTERM)
        status = door.ended()
        asking.clear()
        opened(door)
        for each in browsers:
            each.join()
        assert status == 0


def _ask_until(door: Door, asking: threading.Event) -> None:
    while asking.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException):
            door.ask("/static/panel.css")


def test_metrics_are_the_commands(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_flow()
    names = set(parse(door.ask("/metrics")[1]))
    said = subprocess.run(
        [program("aquasmart"), "--config", str(world.site.config_path), "metrics"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert names == set(parse(said.stdout))


def test_nothing_is_done_without_the_pin_nor_from_another_page(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_delivered()
    for path in ("/actions/resend-dead-letters", "/actions/retry-operations"):
        assert door.ask(path, form={})[0] == 403
    assert "Send refused events again" in door.enter(PIN)
    assert door.ask("/actions/retry-operations", form={"form": "x" * 22})[0] == 403
    token = door.form_token()
    assert door.ask("/actions/retry-operations", form={"form": token})[0] == 303
    assert "0 operations will be tried again" in door.ask("/")[1]
    assert door.ask("/actions/format-the-card", form={"form": token})[0] == 404
    door.ask("/leave", form={})
    assert door.ask("/actions/retry-operations", form={"form": token})[0] == 403


def test_failed_operations_are_asked_for_again(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_delivered()
    ops = world.site.root / "station" / "ops.db"
    with closing(sqlite3.connect(ops, timeout=10)) as connection:
        connection.execute(
            "INSERT INTO operation (type, parameters, idempotency_key, trace_id, created_at_ms, state)"
            " VALUES ('service_visit', ?, '6f1c1f3e-40d5-4c1d-9d5b-0f8a0a3a0001', ?, 1, 'failed')",
            (json.dumps({"technician": "Ada", "note": "", "visited_at_ms": 1}), "0" * 31 + "1"),
        )
        connection.commit()
    assert "operations list" in door.ask("/")[1]
    door.enter(PIN)
    assert door.ask("/actions/retry-operations", form={"form": door.form_token()})[0] == 303

    def done() -> bool:
        with closing(sqlite3.connect(ops, timeout=10)) as connection:
            return connection.execute("SELECT state FROM operation").fetchall() == [("done",)]

    eventually(done, "the operation to be delivered")


def test_a_swap_seen_at_the_tap_is_acknowledged_on_the_page(make_world: Callable[..., World]) -> None:
    meter = MeterSpec(pattern="steady", driver="modbus", identity="1001", profile="tuf2000")
    world = make_world(meters=(meter,), overrides={"panel": {"pin_file": "panel.pin"}})
    world.start()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "pin", "set", "--stdin"]
    subprocess.run(command, input=f"{PIN}\n", text=True, check=True)
    door = opened(Door(world.site.config_path, world.site.root / "logs" / "panel.log"))
    try:
        world.await_flow()
        door.enter(PIN)
        token = door.form_token()
        assert door.ask("/actions/swap", form={"form": token, "of": "tap-1"})[0] == 303
        assert "no other meter is seen" in door.ask("/")[1]
        world.with_meter(identity="2002")
        eventually(lambda: state(door)["frozen"] == ["tap-1"], "the other meter to be seen")
        assert "The meter of tap-1 was replaced" in door.ask("/")[1]
        assert door.ask("/actions/swap", form={"form": token, "of": "tap-1"})[0] == 303
        assert "asked: the reader counts meter" in door.ask("/")[1]
        world.log.await_kind("meter_change", "tap-1")
        eventually(lambda: state(door)["frozen"] == [], "the new meter to be counted")
    finally:
        door.close()


def test_what_waits_is_sent_at_once(make_door: MakeDoor) -> None:
    world, door = make_door()
    world.await_delivered()
    door.enter(PIN)
    assert door.ask("/actions/drain", form={"form": door.form_token()})[0] == 303
    assert "sync sends now" in door.ask("/")[1]
    ops = world.site.root / "station" / "ops.db"

    def answered() -> bool:
        with closing(sqlite3.connect(ops, timeout=10)) as connection:
            return connection.execute("SELECT count(answered_at_ms) FROM request WHERE kind = 'drain'").fetchone() == (
                1,
            )

    eventually(answered, "sync to answer")


def test_a_guesser_waits_over_restarts_too(make_door: MakeDoor) -> None:
    world, door = make_door(running=False, idle_stop_s=2)
    for _ in range(3):
        assert "this is not the PIN" in door.enter("111111")
    assert "too many wrong PINs" in door.enter(PIN)
    assert door.ended() == 0
    opened(door)
    assert "too many wrong PINs" in door.enter(PIN)
    kept = world.site.root / "run" / "panel" / "state.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((world.site.root / "panel.pin").stat().st_mode) == 0o640
    assert PIN not in (world.site.root / "panel.pin").read_text()


def test_it_ends_when_nobody_looks_and_the_next_one_is_served(make_door: MakeDoor) -> None:
    _, door = make_door(running=False, idle_stop_s=1)
    assert door.ended() == 0
    # systemd holds the socket: who knocks now waits until the panel is there again.
    opened(door)
    assert answers(door)
    os.kill(door.pid, 15)
    assert door.ended(5) == 0


def test_what_a_page_may_load_is_said_and_big_bodies_are_refused(make_door: MakeDoor) -> None:
    _, door = make_door(running=False)
    said = door.ask("/")[2]
    assert "default-src 'none'" in said["Content-Security-Policy"]
    assert said["X-Content-Type-Options"] == "nosniff"
    assert "SameSite=Strict" in door.ask("/pin", form={"pin": "1"})[2].get("Set-Cookie", "SameSite=Strict")
    assert door.ask("/pin", form={"pin": "1" * 100_000})[0] == 413
