"""The worker's loop with jobs that fail, and the jobs themselves: retries, retention, months, old keys."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from aquasmart_cloud.core.normalising import incoming as judging
from aquasmart_cloud.core.normalising.event import CURRENT, Normalised, Normaliser, Rejected
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.core.operations import KEPT_MS
from aquasmart_cloud.services.housekeeping import Months, OldKeys, Retention
from aquasmart_cloud.services.retrying import RetryQueue
from aquasmart_cloud.services.working import Job, Ran, Showing, Worker
from aquasmart_cloud.store import job_runs
from aquasmart_cloud.store.database import Database
from tests.integration.cloud.senders import NOW_MS, CloudUnderTest, Run
from tests.integration.cloud.test_foreign_store import Client, event
from tests.prometheus import Found, parse

DAY_MS, MINUTE_MS = 86_400_000, 60_000


@dataclass
class Scripted:
    """A job that does what it is told."""

    name: str
    work: Callable[[int], str]
    every_s: int = 3600
    at: list[int] = field(default_factory=list)

    def cycle(self, now_ms: int) -> str:
        self.at.append(now_ms)
        return self.work(now_ms)


def run_until(cloud: CloudUnderTest, jobs: list[Job], enough: Callable[[], bool]) -> list[Ran]:
    """The loop, until the condition holds after a run."""
    stop, runs = threading.Event(), list[Ran]()

    def ran(each: Ran) -> None:
        runs.append(each)
        if enough():
            stop.set()

    Worker(cloud.database, lambda _: jobs, "test", Showing(ran=ran)).run(stop)
    return runs


def fail(_: int) -> str:
    raise ValueError("a mistake")


def test_a_job_that_fails_is_recorded_waits_and_keeps_no_other_from_running(
    cloud: CloudUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Scripted("bad", fail, every_s=0), Scripted("good", lambda _: "done", every_s=0)
    with caplog.at_level(logging.ERROR):
        run_until(cloud, [bad, good], lambda: len(good.at) >= 5)
    assert len(bad.at) == 1
    records = job_runs.every(cloud.database)
    assert (records["bad"].failures, records["bad"].error) == (1, "ValueError: a mistake")
    assert records["bad"].due_at >= records["bad"].started_at + 10_000
    assert (records["good"].failures, records["good"].said) == (0, "done")
    assert "a mistake" in caplog.text
    # Whoever leads next does not begin with what fails: it waits as long.
    run_until(cloud, [bad, good], lambda: len(good.at) >= 10)
    assert len(bad.at) == 1
    mended = Scripted("bad", lambda _: "", every_s=0)
    with cloud.database.writing() as connection:
        connection.execute("UPDATE job_run SET started_at = started_at - 20000 WHERE job = 'bad'")
    run_until(cloud, [mended], lambda: bool(mended.at))
    record = job_runs.every(cloud.database)["bad"]
    assert (record.failures, record.failed_runs, record.runs, record.error) == (0, 1, 2, "ValueError: a mistake")


def test_a_job_writes_through_the_database_it_is_given(cloud: CloudUnderTest) -> None:
    given: list[Database] = []
    job = Scripted("only", lambda _: "x", every_s=0)

    def make(database: Database) -> list[Job]:
        given.append(database)
        return [job]

    stop = threading.Event()
    Worker(cloud.database, make, "test", Showing(ran=lambda _: stop.set())).run(stop)
    [database] = given
    with pytest.raises(Exception, match="asked to stop"):
        database.reading()


class Broken:
    """A normaliser that fails on what it is told to."""

    def __init__(self, version: int = CURRENT.version) -> None:
        self.version, self.on = version, {"odd"}

    def read(self, found: Any, rules: Rules) -> Normalised | Rejected:
        if isinstance(found, dict) and found.get("metric") in self.on:
            raise ZeroDivisionError("secret " * 100)
        return CURRENT.read(found, rules)

    @property
    def normaliser(self) -> Normaliser:
        return Normaliser(self.version, self.read)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    """The cloud's own normaliser, broken."""
    made = Broken()
    real = judging.incoming
    monkeypatch.setattr(
        "aquasmart_cloud.web.public_api.incoming", lambda found, rules: real(found, rules, made.normaliser)
    )
    return made


def counted(client: Client) -> list[tuple[int, str]]:
    return [(each["count"], each["sum"]) for each in client.get("/api/aggregations")["groups"]]


def test_what_our_own_normaliser_cannot_read_is_logged_and_tried_again_ever_later(
    cloud: CloudUnderTest, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(cloud)
    trace = "0123456789abcdef0123456789abcdef"
    with caplog.at_level(logging.ERROR):
        answer = cloud.app.test_client().post(
            "/api/events",
            json=event(metric="odd"),
            headers=client.headers | {"traceparent": f"00-{trace}-0123456789abcdef-01"},
        )
    assert (answer.status_code, answer.json["code"]) == (422, "not-normalised")
    assert "ZeroDivisionError" in caplog.text
    assert f"trace={trace}" in caplog.text
    assert "test_jobs.py" in caplog.text
    assert caplog.text.count("secret") < 30
    # What its sender got wrong is for people.
    assert client.send(event(amount="?")).json["code"] == "invalid"
    queue, tried = RetryQueue(cloud.database, broken.normaliser), []
    for minute in range(3000):
        cloud.now_ms = NOW_MS + minute * MINUTE_MS
        if queue.cycle(cloud.now_ms):
            tried.append(minute)
    assert tried == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023]
    assert cloud.one("SELECT COUNT(*) FROM failed_retry") == 0
    assert cloud.query("SELECT code, state FROM failed_event ORDER BY failed_seq") == [
        ("not-normalised", "open"),
        ("invalid", "open"),
    ]


def test_a_passing_mistake_heals_by_itself_and_counts_once(cloud: CloudUnderTest, broken: Broken) -> None:
    client = Client(cloud)
    odd = event(metric="odd", id="one")
    assert client.send(odd).status_code == 422
    queue = RetryQueue(cloud.database, broken.normaliser)
    assert queue.cycle(NOW_MS + MINUTE_MS - 1) == ""
    broken.on.clear()
    assert "1 of them are read now" in queue.cycle(NOW_MS + MINUTE_MS)
    assert cloud.query("SELECT state, closed_by FROM failed_event") == [("processed", "worker")]
    assert queue.cycle(NOW_MS + 10 * MINUTE_MS) == ""
    assert [client.send(odd).status_code for _ in range(2)] == [200, 200]
    assert counted(client) == [(1, "1200")]


def test_a_newer_normaliser_tries_everything_by_itself_once(cloud: CloudUnderTest, broken: Broken) -> None:
    client = Client(cloud)
    client.send({"events": [event(id=str(number)) for number in range(5)]})
    client.send({"events": [event(metric="odd", id=f"odd-{number}") for number in range(3)]})
    bad = client.send(event(amount="?", id="bad")).json["event_id"]
    RetryQueue(cloud.database, broken.normaliser).cycle(NOW_MS)
    newer = Broken(CURRENT.version + 1)
    newer.on.clear()
    queue = RetryQueue(cloud.database, newer.normaliser)
    said = queue.cycle(NOW_MS + 1)
    assert "tried 4 failures, 3 of them are read now, and knows 5 earlier events" in said
    assert queue.cycle(NOW_MS + 2) == RetryQueue(cloud.database, newer.normaliser).cycle(NOW_MS + 2) == ""
    assert cloud.one("SELECT COUNT(*) FROM failed_retry") == 0
    assert cloud.query("SELECT state FROM failed_event WHERE code = 'invalid'") == [("open",)]
    assert counted(client) == [(8, "9600")]
    assert (
        client.send({"events": [event(metric="odd", id=f"odd-{number}") for number in range(3)]}).json["duplicates"]
        == 3
    )
    assert counted(client) == [(8, "9600")]
    assert bad.startswith(client.client_id)


def test_a_failure_that_is_dismissed_or_corrected_is_not_tried_again(cloud: CloudUnderTest, broken: Broken) -> None:
    client = Client(cloud)
    ids = [client.send(event(metric="odd", id=str(number))).json["event_id"] for number in range(2)]
    assert cloud.one("SELECT COUNT(*) FROM failed_retry") == 2
    person = {"Authorization": "Bearer correct-horse-battery-staple"}
    for failed_id, verb, body in zip(
        ids, ("dismiss", "reprocess"), ({"reason": "x"}, {"event": event(id="other")}), strict=True
    ):
        done = cloud.client.post(f"/api/failed-events/{failed_id}/{verb}", json=body, headers=person)
        assert done.status_code in (200, 201)
    assert cloud.one("SELECT COUNT(*) FROM failed_retry") == 0


def test_retention_does_nothing_unless_somebody_said_so(cloud: CloudUnderTest) -> None:
    sender, run = cloud.station(), Run(1_000_000)
    batches = [run.batch([1, 2], rows=[{"row": 0, "kind": "pour", "data": {"ul": 7}}]) for _ in range(3)]
    for batch in batches:
        sender.take(batch)
    later = NOW_MS + 400 * DAY_MS
    assert Retention(cloud.database, None).cycle(later) == ""
    assert Retention(cloud.database, 24).cycle(later) == ""
    assert cloud.one("SELECT COUNT(*) FROM batch") == 3
    job = Retention(cloud.database, 12)
    assert job.cycle(later) == "let go of 3 batches and 3 notable events"
    assert job.cycle(later) == job.cycle(later) == ""
    before = cloud.query("SELECT events, volume_ul FROM station")
    for batch in batches:
        assert sender.take(batch)["inserted"] == 0
    assert cloud.query("SELECT events, volume_ul FROM station") == before
    assert cloud.one("SELECT COUNT(*) FROM batch") == 0
    cloud.assert_books_balance()


def test_months_are_made_ahead_on_postgresql(cloud: CloudUnderTest) -> None:
    said = Months(cloud.database).cycle(NOW_MS)
    assert said.count("batch_") == said.count("notable_") == (4 if cloud.database.kind == "postgresql" else 0)
    assert Months(cloud.database).cycle(NOW_MS) == ""


def test_keys_are_forgotten_after_ninety_days(cloud: CloudUnderTest) -> None:
    cloud.station("tap-1")
    add = (
        "INSERT INTO operation (station_id, idempotency_key, type, fingerprint, state, claim, claimed_at, received_at,"
        " request_id, trace_id, payload) VALUES ('tap-1', ?, 'service_visit', '', 'done', '', 0, ?, '', '', '{}')"
    )
    with cloud.database.writing() as connection:
        for number in range(4):
            connection.execute(add, (str(number), NOW_MS - KEPT_MS + (number - 2) * 1000))
    job = OldKeys(cloud.database)
    assert job.cycle(NOW_MS) == "forgot 2 idempotency keys of 1 stations"
    assert job.cycle(NOW_MS) == ""
    assert cloud.query("SELECT idempotency_key FROM operation ORDER BY idempotency_key") == [("2",), ("3",)]


def test_the_metrics_tell_of_the_worker_to_whoever_may_know(cloud: CloudUnderTest) -> None:
    assert cloud.client.get("/api/metrics").status_code == 401
    person = {"Authorization": "Bearer correct-horse-battery-staple"}

    def scraped() -> dict[str, Found]:
        return parse(cloud.client.get("/api/metrics", headers=person).text)

    assert scraped()["aquasmart_cloud_worker_leads"].value() == 0
    cloud.station().take(Run(1_000_000).batch([1, 2]))
    job, seen = Scripted("bad", fail), list[float]()

    def look() -> bool:
        seen.append(scraped()["aquasmart_cloud_worker_leads"].value())
        return True

    run_until(cloud, [job], look)
    found = scraped()
    assert seen == [1]
    assert found["aquasmart_cloud_worker_leads"].value() == 0
    assert found["aquasmart_cloud_worker_takeovers_total"].value() == 1
    assert found["aquasmart_cloud_job_failures_in_a_row"].value(job="bad") == 1
    assert found["aquasmart_cloud_fleet_rollups_behind_events"].value() == 2
