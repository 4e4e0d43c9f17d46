"""Faults between a sender and its answer: whatever fails, whenever, the same event again counts once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.errors import ConfigError
from tests.integration.cloud.foreign.gunicorn import Answer, ClientOf, Served, event, served_on
from tests.integration.store.stores import Store

DEVELOPMENT = {"AQUASMART_MODE": "development"}


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("faulty") / "cloud"
    with served_on(store, folder, AQUASMART_FAULTS="header", **DEVELOPMENT) as running:
        yield running


def send_until_answered(client: ClientOf, body: Any) -> Answer:
    """As an honest sender does: again, until there is an answer that is none of the server's faults."""
    for _ in range(200):
        try:
            answer = client.send(body)
        except (OSError, HTTPException):
            continue
        if answer.status < 500:
            return answer
    raise AssertionError("no answer")


def processed(client: ClientOf) -> int:
    return int(client.get("/api/stats").json["processed"])


@pytest.mark.parametrize("fault", ["db-before", "db-within"])
def test_f1_f2_a_failure_before_or_within_the_transaction_stores_nothing(
    served: Served, client: ClientOf, fault: str
) -> None:
    before = served.rows()
    for body in (event(), {"events": [event(id="1"), event(id="2"), {}]}, {}):
        answer = client.send(body, X_Fault=fault)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "fault" not in answer.body.decode()
    assert served.rows() == before
    assert client.send(event()).status == 201


@pytest.mark.parametrize("fault", ["db-after", "drop-ack"])
def test_f3_after_a_failure_past_the_commit_a_repeat_answers_the_first_result(client: ClientOf, fault: str) -> None:
    try:
        assert client.send(event(), X_Fault=fault).status == 503
    except (OSError, HTTPException):
        assert fault == "drop-ack"
    assert processed(client) == 1
    again = client.send(event())
    assert (again.status, again.json["status"]) == (200, "duplicate")
    [stored] = client.get("/api/events").json["events"]
    assert (again.json["event_id"], again.json["received_at"]) == (stored["event_id"], stored["received_at"])


@pytest.mark.parametrize("fault", ["db-before", "db-within", "db-after", "drop-ack", "disconnect", "error-500"])
def test_f4_a_simulated_failure_then_the_same_event_is_stored_once(client: ClientOf, fault: str) -> None:
    try:
        assert client.send(event(id="7"), X_Fault=fault).status in {500, 503}
    except (OSError, HTTPException):
        assert fault in {"drop-ack", "disconnect"}
    assert send_until_answered(client, event(id="7")).status in {200, 201}
    assert processed(client) == 1
    [group] = client.get("/api/aggregations").json["groups"]
    assert (group["count"], group["sum"]) == (1, "1200")


def test_f5_a_failed_event_whose_answer_was_lost_keeps_its_id(client: ClientOf) -> None:
    assert client.send({}, X_Fault="db-after").status == 503
    [kept] = client.get("/api/failed-events").json["events"]
    assert client.send({}).json["event_id"] == kept["event_id"]


def test_a_delay_answers_and_an_unknown_fault_is_named(client: ClientOf) -> None:
    assert client.send(event(), X_Fault="delay:20").status == 201
    assert client.send(event(id="1"), X_Fault="earthquake").status == 422
    assert processed(client) == 1


def test_the_stations_ingest_fails_on_request_too(served: Served) -> None:
    answer = served.ask("POST", "/v1/ingest", b"{}", {"X-Fault": "error-500"})
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert served.ask("GET", "/api/health", None, {"X-Fault": "error-500"}).status == 200


def test_a_fault_for_everything(tmp_path: Path) -> None:
    with Served(tmp_path / "cloud", AQUASMART_FAULTS="db-within", **DEVELOPMENT) as cloud:
        client = cloud.client()
        assert client.send(event()).status == 503
        assert cloud.rows()["foreign_event"] == 0


@pytest.mark.parametrize("settings", [{}, {"AQUASMART_MODE": "production"}])
def test_production_refuses_to_inject_faults(tmp_path: Path, settings: dict[str, str]) -> None:
    cloud = Served(tmp_path / "cloud", AQUASMART_FAULTS="header", **settings)
    with pytest.raises(ConfigError, match="AQUASMART_MODE=development"):
        Config.from_environment(cloud.environment())


@pytest.mark.parametrize(
    "settings",
    [{"AQUASMART_MODE": "test"}, {"AQUASMART_FAULTS": "quake", **DEVELOPMENT}, {"AQUASMART_FAULTS": "delay:"}],
)
def test_settings_of_faults_are_judged(tmp_path: Path, settings: dict[str, str]) -> None:
    cloud = Served(tmp_path / "cloud", **settings)
    with pytest.raises(ConfigError, match="AQUASMART_"):
        Config.from_environment(cloud.environment())


def test_without_the_setting_the_header_means_nothing(tmp_path: Path) -> None:
    with Served(tmp_path / "cloud") as cloud:
        assert cloud.client().send(event(), X_Fault="db-within").status == 201


def test_a_real_fault_of_the_database_at_its_last_table_is_503_and_stores_nothing(
    served: Served, client: ClientOf
) -> None:
    before = served.rows()
    served.execute("ALTER TABLE processing_log RENAME TO gone")
    try:
        answer = client.send({"events": [event(), {}]})
        assert (answer.status, "processing_log" in answer.body.decode()) == (503, False)
    finally:
        served.execute("ALTER TABLE gone RENAME TO processing_log")
    assert served.rows() == before
    assert client.send({"events": [event(), {}]}).status == 207


def test_killed_in_the_middle_of_everything_each_event_counts_once(store: Store, tmp_path: Path) -> None:
    """`kill -9` of the whole server, again and again, while four senders send and repeat what was not answered."""
    sent = 60
    with served_on(store, tmp_path / "cloud") as cloud:
        client = cloud.client()
        done = [0] * 4

        def send(sender: int) -> None:
            for number in range(sent):
                body = {"events": [event(id=f"{number}", amount="0.001"), event(metric=f"m{number}", amount="0.002")]}
                while True:
                    try:
                        if client.send(body).status < 300:
                            break
                    except (OSError, HTTPException):
                        continue
                done[sender] += 1

        threads = [threading.Thread(target=send, args=(each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        kills = 0
        for wanted in (10, 25, 40):
            _wait_for(lambda wanted=wanted: min(done) >= wanted)
            cloud.kill()
            cloud.start()
            kills += 1
        for thread in threads:
            thread.join()
        assert kills == 3
        assert processed(client) == 2 * sent
        [group] = client.get("/api/aggregations").json["groups"]
        assert (group["count"], group["sum"]) == (2 * sent, "0.18")
        assert len(client.get("/api/events?limit=1000").json["events"]) == 2 * sent


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the senders do not get on")
