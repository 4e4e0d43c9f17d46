"""The pages about failed events as a person uses them: what they show, what their forms do, and whose they are."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from flask.testing import FlaskClient

from aquasmart_cloud.store.clients import Clients
from tests.integration.cloud.senders import CloudUnderTest
from tests.integration.cloud.test_foreign_store import Client, event

TOKEN = "correct-horse-battery-staple"
ORIGINAL = {"amount": "?", "metric": "sale", "note": "<b>&", "timestamp": "2024-03-01T10:15:00Z"}


@pytest.fixture
def acme(cloud: CloudUnderTest) -> Client:
    """A client of which one event of three is fine."""
    made = Client(cloud)
    made.send({"events": [event(id="fine"), ORIGINAL, {}]})
    return made


@pytest.fixture
def browser(cloud: CloudUnderTest, acme: Client) -> FlaskClient:
    signed_in = cloud.app.test_client()
    assert signed_in.post("/sign-in", data={"token": TOKEN}).status_code == 303
    return signed_in


def page(browser: FlaskClient, target: str, status: int = 200) -> str:
    answer = browser.get(target)
    assert answer.status_code == status, answer.text
    return answer.text


def form_of(text: str) -> str:
    return re.search(r'name="form" value="([0-9a-f]{32})"', text)[1]  # type: ignore[index]


def test_the_list_names_what_is_wrong_and_filters(browser: FlaskClient, cloud: CloudUnderTest) -> None:
    shown = page(browser, "/failed-events")
    assert shown.index("c_acme.1") < shown.index("c_acme.2")
    assert "Cannot be read" in shown
    assert "amount: '?' is not a number" in unescape(shown)
    assert "Open <b>2</b>" in shown
    assert "c_acme.1" not in page(browser, "/failed-events?state=dismissed")
    assert "c_acme.1" in page(browser, "/failed-events?state=all&client=c_acme")
    assert "c_acme.1" not in page(browser, "/failed-events?client=c_other")
    assert "c_acme.1" not in page(browser, "/failed-events?to=2020-01-01")
    assert "c_acme.1" in page(browser, "/failed-events?from=2020-01-01")
    for query in ("state=lost", "client=%2e%2e", "from=tomorrow", "after=x"):
        page(browser, f"/failed-events?{query}", 422)
    page(browser, "/failed-events/c_acme.99", 404)
    page(browser, "/failed-events/nonsense", 404)


def test_long_lists_go_on_by_pages(browser: FlaskClient, acme: Client) -> None:
    acme.send({"events": [{"n": number} for number in range(60)]})
    first = page(browser, "/failed-events?client=c_acme")
    following = unescape(re.search(r'class="more"><a class="button" href="([^"]+)"', first)[1])  # type: ignore[index]
    second = page(browser, following)
    names = [set(re.findall(r">(c_acme\.\d+)</a>", text)) for text in (first, second)]
    assert (len(names[0]), names[0] & names[1], len(names[0] | names[1])) == (50, set(), 62)
    assert 'class="more"' not in second


def test_one_shows_exactly_what_came_beside_the_errors(browser: FlaskClient) -> None:
    shown = page(browser, "/failed-events/c_acme.1")
    assert "<b>&" not in shown
    original = unescape(re.search(r'id="original"[^>]*><code>(.*?)</code>', shown, re.DOTALL)[1])  # type: ignore[index]
    assert json.loads(original) == ORIGINAL
    assert re.search(r"<code>amount</code> '\?' is not a number", unescape(shown))
    assert "Received and kept as failed" in shown


def test_corrected_it_becomes_an_event_once_and_the_trail_says_by_whom(
    browser: FlaskClient, acme: Client, cloud: CloudUnderTest
) -> None:
    target = "/failed-events/c_acme.1/reprocess"
    form = form_of(page(browser, "/failed-events/c_acme.1"))
    for text, said in (("{", "This is not JSON"), ("[]", "one JSON object"), (json.dumps(ORIGINAL), "failed again")):
        answer = browser.post(target, data={"form": form, "event": text})
        assert (answer.status_code, said in answer.text) == (422, True)
        assert text in unescape(answer.text)
    corrected = json.dumps(ORIGINAL | {"amount": "12.50"})
    assert browser.post(target, data={"form": form, "event": corrected}).status_code == 303
    assert browser.post(target, data={"form": form, "event": corrected}).status_code == 409
    shown = page(browser, "/failed-events/c_acme.1")
    assert "As it was corrected" in shown
    assert 'id="reprocess"' not in shown
    assert "Edited and tried again</b> by admin: it became an event" in unescape(shown)
    assert cloud.one("SELECT count(*) FROM foreign_event") == 2
    assert acme.send(ORIGINAL).json["status"] == "duplicate"


def test_dismissed_with_a_reason_and_only_with_one(browser: FlaskClient, cloud: CloudUnderTest) -> None:
    target = "/failed-events/c_acme.2/dismiss"
    form = form_of(page(browser, "/failed-events/c_acme.2"))
    assert browser.post(target, data={"form": form, "reason": "  "}).status_code == 422
    assert browser.post(target, data={"form": form, "reason": "a <test>"}).status_code == 303
    shown = page(browser, "/failed-events/c_acme.2")
    assert "a &lt;test&gt;" in shown
    assert 'id="dismiss"' not in shown
    assert cloud.query("SELECT state, reason, closed_by FROM failed_event WHERE failed_seq = 2") == [
        ("dismissed", "a <test>", "admin")
    ]


@pytest.mark.parametrize("target", ["/failed-events/c_acme.2/dismiss", "/failed-events/c_acme.1/reprocess"])
def test_only_our_own_forms_change_anything(browser: FlaskClient, cloud: CloudUnderTest, target: str) -> None:
    good = {"form": form_of(page(browser, "/failed-events/c_acme.2")), "reason": "x", "event": json.dumps(event())}
    before = cloud.stored()
    for data, headers in (
        (good | {"form": ""}, {}),
        (good | {"form": "0" * 32}, {}),
        (good, {"Sec-Fetch-Site": "cross-site"}),
        (good, {"Origin": "https://elsewhere.example"}),
    ):
        assert browser.post(target, data=data, headers=headers).status_code == 403
    stranger = cloud.app.test_client()
    assert stranger.post(target, data=good).status_code == 303
    assert stranger.get("/failed-events").headers["Location"].startswith("/sign-in")
    assert cloud.stored() == before


def test_pages_keep_the_headers_of_pages(browser: FlaskClient) -> None:
    answer = browser.get("/failed-events")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_form_for_trials_offers_active_clients_and_no_fault_in_production(
    browser: FlaskClient, cloud: CloudUnderTest
) -> None:
    clients = Clients(cloud.database)
    clients.revoke(clients.add("gone", 1).client_id)
    shown = page(browser, "/try-event")
    assert "c_acme" in shown
    assert "c_gone" not in shown
    assert 'id="fault"' not in shown
