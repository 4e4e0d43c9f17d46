"""What a station's ledger shows, to programs, people and the operator's command; and a difference that is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.integration.cloud.senders import CloudUnderTest, Run, Sender
from tests.integration.store.test_books import ul

TOKEN = {"Authorization": "Bearer correct-horse-battery-staple"}
BASE = 1_000_000
LEDGER = "/api/stations/demo-1/ledger"
Command = Callable[..., tuple[int, str, str]]


def get(cloud: CloudUnderTest, query: str = "") -> dict[str, Any]:
    answer = cloud.client.get(LEDGER + query, headers=TOKEN)
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def post(cloud: CloudUnderTest, what: str, document: Any, status: int = 200) -> dict[str, Any]:
    answer = cloud.client.post(f"{LEDGER}/{what}", json=document, headers=TOKEN)
    assert answer.status_code == status, answer.text
    return dict(answer.json or {})


@pytest.fixture
def holed(cloud: CloudUnderTest, sender: Sender) -> CloudUnderTest:
    """Counts 0 to 10 and 40 to 50 are booked; nothing says anything of those between."""
    sender.take(Run(BASE).batch([10]))
    sender.take(Run(BASE + 40, epoch_from=BASE).batch([10]))
    return cloud


def test_the_ledger_says_what_is_booked_and_what_is_not(holed: CloudUnderTest) -> None:
    found = get(holed)
    assert found["volume_ul"] == ul(0, 10) + ul(40, 50)
    assert found["differences"] == [{"kind": "hole", "state": "open", "number": 1, "volume_ul": ul(10, 40)}]
    [hole] = found["items"]
    assert (hole["kind"], hole["from_counts"], hole["to_counts"]) == ("hole", BASE + 10, BASE + 40)
    assert (hole["state"], hole["volume_ul"], hole["closed_by"]) == ("open", ul(10, 40), None)
    stretches = get(holed, "?list=intervals")["items"]
    assert sum(each["volume_ul"] for each in stretches) == found["volume_ul"]
    first = get(holed, "?list=intervals&limit=1")
    second = get(holed, f"?list=intervals&limit=1&after={first['next']}")
    assert [*first["items"], *second["items"]] == stretches
    assert get(holed, f"?list=intervals&limit=1&after={second['next']}")["items"] == []
    assert get(holed, "?state=closed")["items"] == get(holed, f"?after={hole['entry_id']}")["items"] == []


@pytest.mark.parametrize("query", ["?list=all", "?state=lost", "?after=x", "?list=intervals&after=3", "?limit=0"])
def test_a_question_that_makes_no_sense_is_a_422(holed: CloudUnderTest, query: str) -> None:
    assert holed.client.get(LEDGER + query, headers=TOKEN).status_code == 422


def test_only_people_see_it(holed: CloudUnderTest) -> None:
    assert holed.client.get(LEDGER).status_code == 401
    assert holed.client.post(f"{LEDGER}/1/explain", json={"note": "x"}).status_code == 401
    assert holed.client.get("/api/stations/nowhere/ledger", headers=TOKEN).status_code == 404


def test_explained_it_stays_in_the_books_and_is_no_longer_open(holed: CloudUnderTest) -> None:
    holed.now_ms += 5
    said = post(holed, "1/explain", {"note": " flushed by hand "})
    assert (said["state"], said["closed_by"], said["note"], said["closed_at"]) == (
        "explained",
        "admin",
        "flushed by hand",
        holed.now_ms,
    )
    again = post(holed, "1/explain", {"note": "something else"})
    assert again == said, "the first explanation stands"
    assert get(holed)["differences"] == [{"kind": "hole", "state": "explained", "number": 1, "volume_ul": ul(10, 40)}]
    shown = holed.client.get("/api/stations/demo-1", headers=TOKEN).json or {}
    assert (shown["open_differences"], shown["books_label"]) == (0, "In balance")
    opened = post(holed, "1/reopen", {})
    assert (opened["state"], opened["closed_by"], opened["note"]) == ("open", None, None)
    assert post(holed, "1/reopen", {}) == opened


@pytest.mark.parametrize("note", [None, "", " ", "x" * 1_001, "a\0b", 5])
def test_an_explanation_is_a_text(holed: CloudUnderTest, note: object) -> None:
    post(holed, "1/explain", {"note": note}, 422)
    post(holed, "1/explain", {}, 422)
    assert get(holed)["items"][0]["state"] == "open"


@pytest.mark.parametrize("number", ["2", "0", str(1 << 63), str(1 << 80)])
def test_a_difference_that_there_is_not(holed: CloudUnderTest, number: str) -> None:
    post(holed, f"{number}/explain", {"note": "x"}, 404)
    post(holed, f"{number}/reopen", {}, 404)


def test_what_arrives_later_still_fills_an_explained_hole(
    holed: CloudUnderTest, sender: Sender, command: Command
) -> None:
    post(holed, "1/explain", {"note": "the former card was lost"})
    sender.take(Run(BASE + 20, epoch_from=BASE).batch([5]))
    left = {(each["from_counts"] - BASE, each["to_counts"] - BASE): each for each in get(holed)["items"]}
    assert {place: (each["state"], each["volume_ul"]) for place, each in left.items()} == {
        (10, 20): ("explained", ul(10, 20)),
        (25, 40): ("explained", ul(25, 40)),
    }
    assert {each["note"] for each in left.values()} == {"the former card was lost"}
    assert command("audit", "verify", "demo-1")[0] == 0
    sender.take(Run(BASE + 10, epoch_from=BASE).batch([30]))
    assert [(each["state"], each["volume_ul"]) for each in get(holed)["items"] if each["kind"] == "hole"] == [
        ("closed", 0),
        ("closed", 0),
    ]
    post(holed, "1/explain", {"note": "too late"}, 422)
    post(holed, "1/reopen", {}, 422)
    assert get(holed)["volume_ul"] == ul(0, 50)
    assert command("audit", "verify", "demo-1")[0] == 0


def test_the_operators_command(holed: CloudUnderTest, command: Command) -> None:
    status, text, _ = command("ledger", "list")
    assert (status, "demo-1  hole  " in text) == (0, True)
    status, text, _ = command("ledger", "show", "demo-1")
    assert status == 0
    assert "1  open  hole" in text
    assert f"counts {BASE + 10} to {BASE + 40}" in text
    status, text, _ = command("ledger", "show", "demo-1", "--intervals", "--json")
    balance, *stretches = [json.loads(line) for line in text.splitlines()]
    assert balance["volume_ul"] == sum(each["volume_ul"] for each in stretches) == ul(0, 10) + ul(40, 50)
    status, text, _ = command("ledger", "explain", "demo-1", "1", "--note", "flushed")
    assert (status, "by command line: flushed" in text) == (0, True)
    assert "in balance" in command("ledger", "list")[1]
    assert "in balance" in command("ledger", "show", "demo-1")[1]
    assert json.loads(command("ledger", "reopen", "demo-1", "1", "--json")[1])["state"] == "open"
    for words in (("show", "nowhere"), ("explain", "demo-1", "7", "--note", "x"), ("reopen", "nowhere", "1")):
        status, _, errors = command("ledger", *words)
        assert (status, "list" in errors or "lists" in errors) == (1, True)


@pytest.fixture
def browser(holed: CloudUnderTest) -> FlaskClient:
    signed_in = holed.app.test_client()
    assert signed_in.post("/sign-in", data={"token": TOKEN["Authorization"].split()[1]}).status_code == 303
    return signed_in


def test_the_page_of_a_difference(holed: CloudUnderTest, browser: FlaskClient) -> None:
    assert 'href="/stations/demo-1/differences/1"' in browser.get("/stations/demo-1").text
    target = "/stations/demo-1/differences/1"
    form = {"form": re.search(r'name="form" value="([0-9a-f]{32})"', browser.get(target).text)[1]}  # type: ignore[index]
    assert browser.post(f"{target}/explain", data={"note": "flushed"}).status_code == 403
    refused = browser.post(f"{target}/explain", data=form | {"note": " "})
    assert (refused.status_code, "1 to 1000 characters" in refused.text) == (422, True)
    assert browser.post(f"{target}/explain", data=form | {"note": "<b>flushed"}).status_code == 303
    shown = browser.get("/stations/demo-1").text
    assert "Explained by admin: &lt;b&gt;flushed" in shown
    assert "Explained by admin" in browser.get(target).text
    assert browser.post(f"{target}/reopen", data=form).status_code == 303
    assert get(holed)["items"][0]["state"] == "open"
    assert browser.get("/stations/demo-1/differences/9").status_code == 404
    assert holed.app.test_client().get(target).status_code in {302, 303, 401}
