"""Deliveries to real receivers that answer, hang, reset, redirect and refuse: each at least once, none for another."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.core.delivering import signature
from aquasmart_cloud.outgoing.addresses import read_networks
from aquasmart_cloud.outgoing.posting import Posting
from aquasmart_cloud.services.delivering import Delivering
from aquasmart_cloud.store import outbox
from aquasmart_cloud.store.outbox import Delivery, News
from tests.fakes.webhook_receiver import DRIP, HANG, OK, RESET, WebhookReceiver, answer
from tests.integration.cloud.alerts.scenes import Watchful, beat
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Sender
from tests.integration.transport.authority import Authority

LOOPBACK = read_networks("127.0.0.0/8")
NEWS = News("alert.opened", "leak", {"alert": {"title": "Leak"}})


class Told:
    """A cloud with its job `deliveries`, at a time that the test sets; waits have no jitter."""

    def __init__(self, watchful: Watchful, *, allow: Any = LOOPBACK) -> None:
        self.watchful, self.database = watchful, watchful.cloud.database
        self.now_ms = watchful.cloud.now_ms
        self.job = Delivering(
            self.database, watchful.webhooks, Telling(), Posting(allow, timeout_s=1.0), draw=lambda: 500
        )

    def add(self, url: str) -> str:
        return self.watchful.webhooks.add(url, (), self.now_ms).webhook_id

    def tell(self, target: str, number: int = 1) -> list[str]:
        with self.database.writing("") as connection:
            return [outbox.add(connection, target, NEWS, self.now_ms) for _ in range(number)]

    def cycle(self) -> str:
        return self.job.cycle(self.now_ms)

    def state(self, delivery_id: str) -> Delivery:
        found = outbox.load(self.database, delivery_id)
        assert found is not None
        return found


@pytest.fixture
def told(watchful: Watchful) -> Told:
    return Told(watchful)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as made:
        yield made


def test_an_alert_arrives_signed_with_its_id_and_its_words(
    told: Told, receiver: WebhookReceiver, sender: Sender
) -> None:
    new = told.watchful.webhooks.add(receiver.url, ("dead-letters",), 1)
    beat(sender, dead_letters=3)
    told.watchful.look()
    assert told.cycle() == "1 delivered"
    [got] = receiver.got
    document = json.loads(got.body)
    assert got.path == "/hook?from=aquasmart"
    assert document["delivery_id"] == got.delivery_id == got.headers["idempotency-key"]
    assert document["event"] == "alert.opened"
    assert document["alert"]["alert_id"] == "demo-1.1"
    assert document["alert"]["text"].endswith("3 of them")
    timestamp = int(got.headers["x-aquasmart-timestamp"])
    assert abs(timestamp - time.time() * 1000) < 60_000
    secret = bytes.fromhex(new.secret)
    assert got.headers["x-aquasmart-signature"] == signature(secret, timestamp, got.delivery_id, got.body)
    assert told.state(got.delivery_id).state == "delivered"
    assert told.cycle() == ""


def test_the_secret_is_sealed_in_the_database(told: Told, receiver: WebhookReceiver) -> None:
    new = told.watchful.webhooks.add(receiver.url, (), 1)
    sealed = bytes(told.watchful.cloud.one("SELECT sealed FROM webhook"))
    assert bytes.fromhex(new.secret) not in sealed
    found = told.watchful.webhooks.find(new.webhook_id)
    assert found is not None
    assert found.secret.hex() == new.secret
    assert new.secret not in repr(found)


def test_only_the_kinds_asked_for_are_told(told: Told, receiver: WebhookReceiver, sender: Sender) -> None:
    told.watchful.webhooks.add(receiver.url, ("leak",), 1)
    beat(sender, dead_letters=3)
    told.watchful.look()
    assert told.watchful.told() == []


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        (answer(500), 500, "500 Whatever"),
        (answer(301, Location="https://example.org/"), 301, "redirects are not followed"),
        (answer(404), 404, "404 Whatever"),
        (RESET, None, "reset"),
        (HANG, None, "no answer in time"),
        (DRIP, None, ""),
        ("not http at all\r\n\r\n", None, "BadStatusLine"),
    ],
    ids=["500", "redirect", "404", "reset", "hang", "drip", "nonsense"],
)
def test_what_goes_wrong_is_said_and_tried_again_later_under_the_same_id(
    how: str, status: int | None, said: str, told: Told
) -> None:
    with WebhookReceiver(lambda _: how) as receiver:
        [delivery_id] = told.tell(told.add(receiver.url))
        began = time.monotonic()
        assert told.cycle() == "1 to be tried again"
        assert time.monotonic() - began < 10
        found = told.state(delivery_id)
        assert (found.state, found.attempts, found.status) == ("waiting", 1, status)
        assert said.lower() in str(found.said).lower()
        assert found.due_at == told.now_ms + 5_000
        assert told.cycle() == "", "not before it is due"
        receiver.behave = lambda _: OK
        told.now_ms = found.due_at
        assert told.cycle() == "1 delivered"
        assert {each.delivery_id for each in receiver.got} == {delivery_id}
        assert len({each.body for each in receiver.got}) == 1


def test_retry_after_is_obeyed(told: Told) -> None:
    with WebhookReceiver(lambda _: answer(429, Retry_After="120")) as receiver:
        [delivery_id] = told.tell(told.add(receiver.url))
        told.cycle()
        assert told.state(delivery_id).due_at == told.now_ms + 120_000


def test_a_receiver_that_is_gone_is_given_up_after_days_and_retried_by_hand(told: Told) -> None:
    with WebhookReceiver(lambda _: answer(503)) as receiver:
        target = told.add(receiver.url)
        [delivery_id] = told.tell(target)
        for _ in range(200):
            told.cycle()
            found = told.state(delivery_id)
            if found.state == "failed":
                break
            assert told.now_ms < found.due_at <= told.now_ms + 3_600_000
            told.now_ms = found.due_at
        assert found.state == "failed"
        assert found.ended_at == found.created_at + told.job.telling.give_up_ms
        assert 70 < found.attempts < 110
        receiver.behave = lambda _: OK
        with told.database.writing("") as connection:
            assert outbox.retry(connection, delivery_id, told.now_ms)
            assert not outbox.retry(connection, delivery_id, told.now_ms)
        assert told.cycle() == "1 delivered"
        assert receiver.got[-1].delivery_id == delivery_id


def test_one_that_hangs_keeps_no_other_waiting_and_is_left_alone_with_all_that_waits_for_it(told: Told) -> None:
    with WebhookReceiver(lambda _: HANG) as slow, WebhookReceiver() as quick:
        waiting, done = told.tell(told.add(slow.url), 50), told.tell(told.add(quick.url), 10)
        began = time.monotonic()
        assert told.cycle() == "10 delivered, 1 to be tried again"
        assert time.monotonic() - began < 10
        assert {told.state(each).state for each in done} == {"delivered"}
        assert len(slow.got) == 1
        told.now_ms += 4_999
        assert told.cycle() == "", "all fifty wait"
        assert sorted(told.state(each).attempts for each in waiting) == [0] * 49 + [1]
        slow.behave = lambda _: OK
        told.now_ms += 1
        for _ in range(5):
            told.cycle()
        assert {told.state(each).state for each in waiting} == {"delivered"}


def test_a_message_that_its_receiver_cannot_digest_holds_up_no_other(told: Told) -> None:
    poison: list[str] = []
    with WebhookReceiver(lambda got: answer(500) if got.delivery_id in poison else OK) as receiver:
        target = told.add(receiver.url)
        poison += told.tell(target)
        told.cycle()
        told.now_ms += 5_000
        others = told.tell(target, 5)
        assert told.cycle() == "5 delivered, 1 to be tried again"
        assert {told.state(each).state for each in others} == {"delivered"}
        assert told.state(poison[0]).attempts == 2


def test_private_addresses_are_refused_unless_the_operator_allows_them(
    watchful: Watchful, receiver: WebhookReceiver
) -> None:
    careful = Told(watchful, allow=())
    ids = [careful.tell(careful.add(url))[0] for url in (receiver.url, f"http://localhost:{receiver.port}/")]
    careful.cycle()
    assert receiver.got == []
    for each in ids:
        found = careful.state(each)
        assert (found.state, found.status) == ("waiting", None)
        assert "not a public address" in str(found.said)


def test_http_is_for_networks_that_the_operator_names(watchful: Watchful) -> None:
    careful = Told(watchful, allow=())
    [delivery_id] = careful.tell(careful.add("http://1.1.1.1/hook"))
    careful.cycle()
    assert "not encrypted" in str(careful.state(delivery_id).said)


def test_https_is_verified_by_name_and_authority(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca")
    context = authority.issue().server()
    with WebhookReceiver() as receiver:
        receiver._server.socket = context.wrap_socket(receiver._server.socket, server_side=True)
        [delivery_id] = told.tell(told.add(f"https://127.0.0.1:{receiver.port}/hook"))
        told.cycle()
        assert "certificate is not trusted" in str(told.state(delivery_id).said)
        assert receiver.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert ssl.get_default_verify_paths().cafile == str(authority.certificate)
        told.now_ms += 5_000
        assert told.cycle() == "1 delivered"
        wrong = told.tell(told.add(f"https://localhost:{receiver.port}/hook"))[0]
        told.cycle()
        assert "certificate is not trusted" in str(told.state(wrong).said), "it is one for 127.0.0.1"


def test_what_waits_for_a_webhook_that_is_removed_or_disabled_fails_and_can_be_retried(
    told: Told, receiver: WebhookReceiver
) -> None:
    kept, gone = told.add(receiver.url), told.add(receiver.url)
    first, second = told.tell(kept)[0], told.tell(gone)[0]
    told.watchful.webhooks.enable(kept, enabled=False)
    told.watchful.webhooks.remove(gone)
    assert told.cycle() == "2 failed"
    told.watchful.webhooks.enable(kept, enabled=True)
    with told.database.writing("") as connection:
        outbox.retry(connection, first, told.now_ms)
    assert told.cycle() == "1 delivered"
    assert told.state(second).said == "the webhook was removed or disabled"


def test_a_master_key_that_is_another_is_a_wait_and_not_a_loss(told: Told, receiver: WebhookReceiver) -> None:
    from aquasmart_cloud.store.webhooks import Webhooks

    [delivery_id] = told.tell(told.add(receiver.url))
    told.job.webhooks = Webhooks(told.database, bytes(32))
    assert told.cycle() == "1 to be tried again"
    assert "does not open with this master key" in str(told.state(delivery_id).said)
    told.job.webhooks = Webhooks(told.database, MASTER_KEY)
    told.now_ms += 5_000
    assert told.cycle() == "1 delivered"


def test_a_claim_is_won_by_one_and_runs_out(told: Told, receiver: WebhookReceiver) -> None:
    [delivery_id] = told.tell(told.add(receiver.url))
    found = told.state(delivery_id)
    with told.database.writing("") as connection:
        assert outbox.claim(connection, found, told.now_ms)
        assert outbox.claim(connection, found, told.now_ms) is None
    assert told.cycle() == ""
    told.now_ms += outbox.CLAIM_MS
    assert told.cycle() == "1 delivered"


def test_what_ended_a_month_ago_is_forgotten(told: Told, receiver: WebhookReceiver, cloud: CloudUnderTest) -> None:
    told.tell(told.add(receiver.url), 3)
    told.cycle()
    told.now_ms += outbox.KEPT_MS
    told.tell(told.add(receiver.url))
    told.cycle()
    assert cloud.one("SELECT count(*) FROM outbox") == 4
    told.now_ms += 3_600_000
    told.cycle()
    assert cloud.one("SELECT count(*) FROM outbox") == 1
