"""Stations that say things, and looks at them: what the tests of alerts are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from aquasmart_cloud.config_telling import Telling
from aquasmart_cloud.services.alerting import Alerting, Done
from aquasmart_cloud.store import outbox
from aquasmart_cloud.store.webhooks import Webhooks
from tests.contract.messages import meterless_header
from tests.integration.cloud.senders import MASTER_KEY, NOW_MS, CloudUnderTest, Run, Sender

MINUTE_MS = 60_000


class Watchful:
    """A cloud with its job `alerts`, and a clock that both go by."""

    def __init__(self, cloud: CloudUnderTest, telling: Telling | None = None) -> None:
        self.cloud = cloud
        self.job = Alerting(cloud.database, telling or Telling())
        self.webhooks = Webhooks(cloud.database, MASTER_KEY)

    def pass_time(self, ms: int) -> None:
        self.cloud.now_ms += ms

    def look(self) -> Done:
        return self.job.look(self.cloud.now_ms)

    def current(self) -> list[tuple[str, str, str, str]]:
        """Owner, kind, subject and state of what is not closed."""
        query = "SELECT station_id, kind, subject, state FROM alert WHERE state <> 'closed' ORDER BY kind, subject"
        return self.cloud.query(query)

    def told(self) -> list[tuple[str, str]]:
        """Event and kind of everything in the outbox, in order."""
        found = outbox.page(self.cloud.database, "", None, 1_000)
        events = [(json.loads(each.body)["event"], each.kind) for each in found]
        return events[::-1]


def beat(sender: Sender, **said: Any) -> None:
    """A heartbeat that must be taken."""
    payload = {
        "state": "running",
        "software": "0.1.0",
        "uptime_s": 60,
        "clock": "ntp",
        "pending": 0,
        "oldest_pending_s": 0,
        "meters": [{"meter_id": "tap-1", "state": "ok", "counts": 1}],
        "config": {"version": 0, "sha256": "0" * 64},
        "dead_letters": 0,
    } | said
    meta = {"trace_id": uuid4().hex, "timestamp": "2026-11-20T22:00:00.123Z"}
    answer = sender.request(json.dumps({"meta": meta, "payload": payload}).encode(), target="/v1/heartbeat")
    assert answer.status_code == 200, answer.text


class Diary:
    """The stream without a meter of one run: its rows are what a reader says of itself."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.run = Run(0)
        self.run.header = meterless_header(id=str(uuid4()))

    def say(self, *rows: tuple[str, Any]) -> None:
        """One batch of rows: kind and data of each."""
        listed = [{"row": number, "kind": kind, "data": data} for number, (kind, data) in enumerate(rows)]
        self.run.at = self.sender.cloud.now_ms - 1_000
        self.sender.take(self.run.batch([0] * len(rows), rows=listed))


def until(watchful: Watchful, condition: Callable[[], bool], *, step_ms: int, most: int, also: Any = None) -> int:
    """Pass time in steps with a look at each; how many it took. AssertionError where it never comes."""
    for number in range(most):
        if condition():
            return number
        watchful.pass_time(step_ms)
        if also is not None:
            also()
        watchful.look()
    raise AssertionError(f"not within {most} steps: {watchful.current()}")


__all__ = ["MINUTE_MS", "NOW_MS", "Diary", "Watchful", "beat", "until"]
