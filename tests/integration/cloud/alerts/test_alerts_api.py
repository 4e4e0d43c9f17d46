"""Alerts for programs and pages, and their figures for Prometheus, on both stores."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from aquasmart_cloud.store import job_runs, leases
from aquasmart_cloud.store.job_runs import JobRun
from tests import prometheus
from tests.integration.cloud.alerts.scenes import Watchful, beat
from tests.integration.cloud.senders import CloudUnderTest, Sender

TOKEN = {"Authorization": "Bearer correct-horse-battery-staple"}
RULES = Path(__file__).parents[4] / "deploy" / "prometheus" / "alerts.yml"


def get(cloud: CloudUnderTest, target: str) -> TestResponse:
    return cloud.client.get(target, headers=TOKEN)


def post(cloud: CloudUnderTest, target: str, document: Any) -> TestResponse:
    return cloud.client.post(target, json=document, headers=TOKEN)


@pytest.fixture
def alerted(watchful: Watchful, sender: Sender) -> CloudUnderTest:
    """One station with a warning and an urgent alert."""
    beat(sender, dead_letters=2, meters=[{"meter_id": "tap-1", "state": "silent", "counts": None}])
    watchful.look()
    watchful.pass_time(120_000)
    watchful.look()
    return watchful.cloud


def test_alerts_are_listed_filtered_and_paged(alerted: CloudUnderTest) -> None:
    found = get(alerted, "/api/alerts").json
    assert [(each["kind"], each["severity"], each["state"]) for each in found["alerts"]] == [
        ("meter-fault", "urgent", "open"),
        ("dead-letters", "warning", "open"),
    ]
    assert found["next"] is None
    assert found["alerts"][0]["text"] == "tap-1: the meter does not answer"
    first = get(alerted, "/api/alerts?limit=1").json
    second = get(alerted, f"/api/alerts?limit=1&after={first['next']}").json
    assert [first["alerts"][0], second["alerts"][0]] == found["alerts"]
    assert get(alerted, f"/api/alerts?limit=1&after={second['next']}").json == {"alerts": [], "next": None}
    assert len(get(alerted, "/api/alerts?kind=meter-fault&station=demo-1").json["alerts"]) == 1
    assert get(alerted, "/api/alerts?state=closed").json["alerts"] == []
    assert get(alerted, "/api/alerts?station=demo-2").json["alerts"] == []


@pytest.mark.parametrize("query", ["state=loud", "kind=comet", "after=x", "after=1.2", "station=A b", "limit=0"])
def test_a_question_that_makes_no_sense_is_a_422(query: str, alerted: CloudUnderTest) -> None:
    assert get(alerted, f"/api/alerts?{query}").status_code == 422


def test_acknowledging_and_closing(alerted: CloudUnderTest) -> None:
    alerted.now_ms += 5
    seen = post(alerted, "/api/alerts/demo-1.1/acknowledge", {"note": "on my way"})
    assert seen.status_code == 200
    assert (seen.json["state"], seen.json["acknowledged_by"], seen.json["note"]) == (
        "acknowledged",
        "admin",
        "on my way",
    )
    again = post(alerted, "/api/alerts/demo-1.1/acknowledge", {"note": "me too"}).json
    assert again == seen.json, "the first one who sees to it does"
    assert get(alerted, "/api/alerts?state=acknowledged").json["alerts"] == [seen.json]
    closed = post(alerted, "/api/alerts/demo-1.1/close", {}).json
    assert (closed["state"], closed["closed_by"], closed["note"]) == ("closed", "admin", "on my way")
    assert post(alerted, "/api/alerts/demo-1.1/acknowledge", {}).json == closed
    assert get(alerted, "/api/alerts/demo-1.1").json == closed


def test_who_may_and_what_there_is_not(alerted: CloudUnderTest) -> None:
    assert alerted.client.get("/api/alerts").status_code == 401
    assert alerted.client.post("/api/alerts/demo-1.1/acknowledge", json={}).status_code == 401
    form = alerted.client.post("/api/alerts/demo-1.1/acknowledge", data={"note": "x"}, headers=TOKEN)
    assert form.status_code == 415
    assert alerted.one("SELECT count(*) FROM alert WHERE state <> 'open'") == 0
    for name in ("demo-1.99", "demo-1", "nobody.1"):
        assert get(alerted, f"/api/alerts/{name}").status_code == 404
        assert post(alerted, f"/api/alerts/{name}/close", {}).status_code == 404
    for wrong in ([], {"note": ""}, {"note": 5}, {"note": None}, {"other": 1}, {"note": "x" * 1_001}):
        assert post(alerted, "/api/alerts/demo-1.1/acknowledge", wrong).status_code == 422


def test_the_pages_show_them(alerted: CloudUnderTest) -> None:
    with alerted.client.session_transaction() as session:
        session["person"] = "admin"
    fleet = alerted.client.get("/").text
    assert "tap-1: the meter does not answer" in fleet
    assert fleet.index("Meter fault") < fleet.index("Events refused for good")
    station = alerted.client.get("/stations/demo-1").text
    assert "Send a technician" in station or "Look at its supply" in station
    document = get(alerted, "/api/stations/demo-1").json
    assert [each["kind"] for each in document["alerts"]] == ["meter-fault", "dead-letters"]
    assert [each["href"] for each in get(alerted, "/api/fleet").json["alerts"]] == ["/stations/demo-1"] * 2


def test_figures_for_prometheus(alerted: CloudUnderTest, watchful: Watchful) -> None:
    watchful.webhooks.add("https://example.org/", (), 1)
    post(alerted, "/api/alerts/demo-1.1/close", {})
    leases.take(alerted.database, leases.WORKER, "somebody")
    job_runs.keep(alerted.database, JobRun('a "job"', 1).failed(5_000, 1, "no"))
    alerted.now_ms += 7_000
    answer = get(alerted, "/api/metrics")
    page = prometheus.parse(answer.text)
    assert answer.mimetype == "text/plain"
    assert page["aquasmart_cloud_alerts"].value(kind="meter-fault", state="open") == 1
    assert page["aquasmart_cloud_alerts"].value(kind="dead-letters", state="open") == 0
    assert page["aquasmart_cloud_deliveries"].value(state="waiting") == 1
    assert page["aquasmart_cloud_oldest_delivery_age_seconds"].value() == 7
    assert page["aquasmart_cloud_worker_leads"].value() == 1
    assert page["aquasmart_cloud_job_failures"].value(job='a "job"') == 1
    assert page["aquasmart_cloud_job_last_run_timestamp_seconds"].value(job='a "job"') == 5
    assert alerted.client.get("/api/metrics").status_code == 401


@pytest.mark.needs("promtool")
def test_prometheus_own_checker_has_nothing_to_say(alerted: CloudUnderTest) -> None:
    program = shutil.which("promtool")
    assert program
    done = subprocess.run(
        [program, "check", "metrics"], input=get(alerted, "/api/metrics").text, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.needs("promtool")
def test_the_alert_rules_are_right_and_fire_when_they_should() -> None:
    program = shutil.which("promtool")
    assert program
    checked = subprocess.run([program, "check", "rules", str(RULES)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = subprocess.run(
        [program, "test", "rules", str(RULES.with_name("alerts_test.yml"))], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_rules_speak_of_figures_that_there_are(alerted: CloudUnderTest) -> None:
    job_runs.keep(alerted.database, JobRun("alerts", 1).done(1, 1, ""))
    known = set(prometheus.parse(get(alerted, "/api/metrics").text)) | {"up"}
    named = set(re.findall(r"\baquasmart_\w+", RULES.read_text()))
    assert named
    assert named <= known
