"""The LED service as a process, before a folder as the kernel makes it and the states of real services."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aquasmart_station.core.led import PATTERNS, Health
from demo.site import REPOSITORY, program
from tests.integration.world import World, eventually

pytestmark = pytest.mark.e2e


def make_led(folder: Path) -> Path:
    """What /sys/class/leds holds of one LED."""
    led = folder / "ACT"
    led.mkdir(parents=True)
    (led / "max_brightness").write_text("255\n")
    (led / "brightness").write_text("0\n")
    (led / "trigger").write_text("none [mmc0] timer heartbeat\n")
    return led


def seen(led: Path, seconds: float) -> list[tuple[bool, float]]:
    """How long it was lit and dark, in turn."""
    steps: list[tuple[bool, float]] = []
    began_s = last_s = time.monotonic()
    lit = (led / "brightness").read_text().strip() == "255"
    while last_s - began_s < seconds:
        now_s = time.monotonic()
        is_lit = (led / "brightness").read_text().strip() == "255"
        if is_lit != lit:
            steps.append((lit, now_s - last_s))
            lit, last_s = is_lit, now_s
        elif now_s - last_s > seconds:
            break
        time.sleep(0.005)
    return steps[1:]  # the first was under way already


def flashes(led: Path, seconds: float = 6.0) -> list[int]:
    """How many times it is lit between two long darks, in turn."""
    groups, count = [], 0
    for lit, for_s in seen(led, seconds):
        count += lit
        if not lit and for_s > 0.7:
            groups.append(count)
            count = 0
    return groups[1:]


@pytest.fixture
def driven(make_world: Callable[..., World], tmp_path: Path) -> Iterator[tuple[World, Path, subprocess.Popen[bytes]]]:
    led = make_led(tmp_path / "leds")
    world = make_world(overrides={"led": {"folder": str(tmp_path / "leds")}})
    world.start()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "led"]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        try:
            yield world, led, process
        finally:
            process.kill()


def shows(led: Path, health: Health) -> bool:
    wanted = sum(1 for index in range(len(PATTERNS[health].steps_ms)) if index % 2 == 0)
    groups = flashes(led)
    return bool(groups) and set(groups) == {wanted}


def test_it_shows_health_backlog_and_death_and_gives_the_led_back(
    driven: tuple[World, Path, subprocess.Popen[bytes]],
) -> None:
    world, led, process = driven
    world.await_flow()
    eventually(lambda: (led / "trigger").read_text() == "none", "the LED to be taken over")
    eventually(lambda: shows(led, Health.HEALTHY), "one flash", 60)
    world.relay.set_state("cut")
    eventually(lambda: shows(led, Health.BACKLOG), "two flashes", 60)
    world.site.stop("sync")
    eventually(lambda: any(lit and for_s > 1.2 for lit, for_s in seen(led, 6)), "lit for long", 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert (led / "brightness").read_text() == "0"
    assert (led / "trigger").read_text() == "mmc0"


def test_a_board_without_an_led_is_told_and_nothing_fails(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(overrides={"led": {"folder": str(tmp_path / "none")}})
    world.prepare()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "led"]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
