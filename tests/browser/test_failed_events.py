"""Failed events as a person corrects them, in a real browser, wide and on a phone; and the form for trials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.integration.cloud.foreign.gunicorn import ADMIN, Served, event

pytestmark = [pytest.mark.e2e, pytest.mark.needs("chromium")]

ORDER = {"type": "sale", "total": "1.200,50", "created_at": "2026-03-01T10:15:00Z", "shop": {"till": 4}, "id": "A-1017"}
LOOKS = ((1280, "light", ""), (1280, "dark", "-dark"), (390, "light", "-phone"))
IN_THE_DOCUMENTS = {"failed-events-phone", "failed-event"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Served]:
    faults = {"AQUASMART_MODE": "development", "AQUASMART_FAULTS": "header"}
    with Served(tmp_path / "cloud", **faults) as running:
        acme = running.client("Acme tills")
        acme.send({"events": [event(id=str(number)) for number in range(3)]})
        acme.send({"events": [ORDER, {"metric": "refund", "amount": -3}, event(id="1", amount=7)]})
        running.client("Kiosk feed").send({"event": "pour", "value": "abc", "time": "31/02/2026"})
        yield running


@pytest.fixture
def signed_in(cloud: Served, browser: Browser) -> Browser:
    browser.open(f"http://127.0.0.1:{cloud.port}/sign-in")
    browser.driver.find_element("id", "token").send_keys(ADMIN + "\n")
    browser.eventually(lambda: "sign-in" not in browser.driver.current_url, "signed in")
    return browser


def test_an_event_is_found_corrected_and_its_end_is_shown(cloud: Served, signed_in: Browser) -> None:
    browser = signed_in
    browser.click(".places a[href='/failed-events']")
    browser.eventually(lambda: len(browser.texts("#failed tbody tr")) == 4, "four failures wait")
    browser.driver.find_element("link text", "c_acme-tills.1").click()
    browser.eventually(lambda: browser.texts("#errors li"), "the errors")
    assert json.loads(browser.text("#original")) == ORDER
    browser.run("document.getElementById('event').value = arguments[0]", json.dumps(ORDER | {"total": "1200.50"}))
    browser.click("#reprocess")
    browser.eventually(lambda: browser.text("#state") == "Processed", "it is an event now")
    assert "Edited and tried again" in browser.text("#trail")
    assert cloud.query("SELECT amount FROM foreign_event WHERE event_id = 'A-1017'") == [("1200.5",)]
    browser.open(f"http://127.0.0.1:{cloud.port}/failed-events/c_acme-tills.2")
    browser.driver.find_element("id", "reason").send_keys("a refund")
    browser.click("#dismiss")
    browser.eventually(lambda: browser.text("#state") == "Dismissed", "it is dismissed")
    assert "a refund" in browser.text("#trail")
    assert browser.complaints() == []


def test_a_trial_with_a_fault_counts_once(cloud: Served, signed_in: Browser) -> None:
    browser = signed_in
    browser.open(f"http://127.0.0.1:{cloud.port}/try-event")
    before = cloud.rows()["foreign_event"]
    for fault, said in (("db-within", "503"), ("db-after", "503"), ("drop-ack", "no answer"), ("", "200: known")):
        browser.run("document.getElementById('fault').value = arguments[0]", fault)
        browser.run("document.getElementById('status').textContent = 'waiting'")
        browser.click("#try button")
        browser.eventually(lambda said=said: browser.text("#status").startswith(said), f"{fault}: {said}")
    assert cloud.rows()["foreign_event"] == before + 1


def test_nothing_is_cut_off_on_any_screen(cloud: Served, signed_in: Browser, pictures: Path | None) -> None:
    browser = signed_in
    for width, theme, suffix in LOOKS:
        browser.size(width, 860)
        browser.theme(theme)
        for name, target in (
            ("failed-events", "/failed-events"),
            ("failed-event", "/failed-events/c_acme-tills.1"),
            ("try-event", "/try-event"),
        ):
            browser.open(f"http://127.0.0.1:{cloud.port}{target}")
            fits = browser.run("return document.documentElement.scrollWidth <= innerWidth")
            assert fits, f"{name}{suffix} is wider than the screen"
            if pictures and f"{name}{suffix}" in IN_THE_DOCUMENTS:
                browser.picture(pictures / f"{name}{suffix}.png")
