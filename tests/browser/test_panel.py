"""The station's own page on a phone: what a technician reads and does there, with and without scripts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.site import program
from tests.browser.browser import Browser
from tests.integration.panel.door import PIN, Door, opened
from tests.integration.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("chromium")]
PHONE = (390, 780)


@pytest.fixture
def door(world: World) -> Iterator[Door]:
    config = world.site.config_path
    config.write_text(f'{config.read_text()}\n[panel]\npin_file = "panel.pin"\n')
    command = [program("aquasmart"), "--config", str(config), "pin", "set", "--stdin"]
    subprocess.run(command, input=f"{PIN}\n", text=True, check=True)
    door = opened(Door(config, world.site.root / "logs" / "panel.log"))
    yield door
    door.close()


def test_a_technician_reads_the_station_and_enters_the_pin(
    world: World, door: Door, browser: Browser, pictures: Path | None
) -> None:
    world.await_flow(20)
    browser.size(*PHONE)
    browser.open(door.address)
    browser.eventually(lambda: browser.text(".health .word").lower() == "healthy", "a healthy station")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    first = browser.text(".meter dd:last-child")
    browser.eventually(lambda: browser.text(".meter dd:last-child") != first, "the volume to move by itself")
    if pictures:
        browser.picture(pictures / "panel.png")
    world.relay.set_state("cut")
    browser.eventually(lambda: browser.text(".health .word").lower() == "backlog", "the outage on the page")
    browser.eventually(lambda: "refused" in "".join(browser.texts(".attention")), "the reason in words")
    if pictures:
        browser.picture(pictures / "panel-backlog.png")
    browser.run("document.getElementById('pin').value = arguments[0]", "111111")
    browser.click("#actions form button")
    browser.eventually(lambda: "not the PIN" in "".join(browser.texts(".said")), "the refusal")
    browser.run("document.getElementById('pin').value = arguments[0]", PIN)
    browser.click("#actions form button")
    browser.eventually(lambda: "Send refused events again" in browser.text("#actions"), "the actions")
    browser.click("#actions form[action$=resend-dead-letters] button")
    browser.eventually(lambda: "0 refused events queued" in "".join(browser.texts(".said")), "the answer")
    assert browser.complaints() == []


def test_the_page_is_whole_without_scripts_and_says_when_the_station_is_gone(
    world: World, door: Door, browser: Browser
) -> None:
    browser.size(*PHONE)
    browser.scripts(allowed=False)
    browser.open(door.address)
    browser.eventually(lambda: "L/min" in browser.text(".figures"), "the flow")
    assert "Technician" in browser.text("#actions")
    browser.scripts(allowed=True)
    browser.open(door.address)
    door.close()
    browser.eventually(lambda: "does not answer" in "".join(browser.texts(".lost")), "that what is shown is old")
