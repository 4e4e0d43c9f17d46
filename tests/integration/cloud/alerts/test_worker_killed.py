"""The real worker, killed between an alert's outbox row and its delivery: told all the same, under the same id."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.groups import Group
from demo.site import REPOSITORY, program
from tests.fakes.webhook_receiver import HANG, OK, WebhookReceiver
from tests.integration.cloud.alerts.scenes import Watchful, beat
from tests.integration.cloud.foreign.gunicorn import ADMIN
from tests.integration.cloud.senders import MASTER_KEY, CloudUnderTest, Sender
from tests.integration.world import eventually

pytestmark = pytest.mark.e2e


class RealWorker:
    """`aquasmart-cloud worker` on a cloud's database."""

    def __init__(self, cloud: CloudUnderTest, folder: Path, **settings: str) -> None:
        self.folder = folder
        for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", ADMIN)):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AQUASMART_")}
        self.environment = kept | {
            "AQUASMART_MASTER_KEY_FILE": str(folder / "master.key"),
            "AQUASMART_DATABASE_URL": cloud.database.url,
            "AQUASMART_WEBHOOK_ALLOW": "127.0.0.0/8",
            **settings,
        }
        self.group = Group("worker", folder, folder)

    def start(self) -> None:
        self.group.start([program("aquasmart-cloud"), "worker"], cwd=REPOSITORY, environment=self.environment)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


@pytest.fixture
def worker(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[RealWorker]:
    made = RealWorker(cloud, tmp_path)
    yield made
    made.group.stop(10)


def document(body: bytes) -> Any:
    return json.loads(body)


def test_killed_before_it_delivers_and_while_it_delivers(
    watchful: Watchful, sender: Sender, worker: RealWorker, cloud: CloudUnderTest
) -> None:
    """What waits is written first; the first worker dies while the receiver has the request and says nothing."""
    answers = threading.Event()
    with WebhookReceiver(lambda _: OK if answers.is_set() else HANG) as receiver:
        watchful.webhooks.add(receiver.url, (), 1)
        beat(sender, dead_letters=1)
        watchful.look()
        assert cloud.one("SELECT state FROM outbox WHERE kind = 'dead-letters'") == "waiting"
        worker.start()
        [first, *_] = receiver.await_got(1)
        worker.group.kill()
        [(state, attempts)] = cloud.query("SELECT state, attempts FROM outbox WHERE delivery_id = ?", first.delivery_id)
        assert (state, attempts) == ("waiting", 1), "claimed, and nobody knows how it ended"

        answers.set()
        with cloud.database.writing("") as connection:  # the time that a claim lasts goes by
            connection.execute("UPDATE outbox SET due_at = 0 WHERE state = 'waiting'")
        worker.start()
        # The station was last heard long ago: the new worker tells of that, too.
        eventually(
            lambda: not cloud.one("SELECT count(*) FROM outbox WHERE state = 'waiting'"), "all told", timeout_s=90
        )
        again = [each for each in receiver.got if each.delivery_id == first.delivery_id]
        assert len(again) == 2
        assert again[0].body == again[1].body
        events = {
            each.delivery_id: (document(each.body)["event"], document(each.body)["kind"]) for each in receiver.got
        }
        assert sorted(events.values()) == [("alert.opened", "dead-letters"), ("alert.opened", "offline")]
        assert cloud.one("SELECT count(*) FROM alert") == 2
    worker.group.stop(10)
    assert "Traceback" not in worker.log()


def test_a_station_goes_offline_and_comes_back_told_by_the_worker_itself(
    watchful: Watchful, sender: Sender, worker: RealWorker, cloud: CloudUnderTest
) -> None:
    """With thresholds of a second, so that it is over before the test's patience."""
    import time

    from aquasmart_cloud.store import alert_settings

    with WebhookReceiver() as receiver:
        watchful.webhooks.add(receiver.url, ("offline",), 1)
        alert_settings.put(cloud.database, "fleet", "", {"offline.after_s": 40, "offline.clear_s": 1}, 1)
        beat(sender)
        worker.start()
        [opened] = receiver.await_got(1)
        assert document(opened.body)["event"] == "alert.opened"

        def heard() -> bool:
            cloud.now_ms = int(time.time() * 1000)
            beat(sender)
            return len(receiver.got) == 2

        eventually(heard, "it is over", timeout_s=120, every_s=1)
        assert document(receiver.got[1].body)["event"] == "alert.closed"
        assert document(receiver.got[1].body)["alert"]["closed_by"] == "itself"
