"""Answers when things go wrong here: problem documents everywhere, signed where a key is known, no word of inside."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from aquasmart_cloud.store.keyring import MasterKeys
from tests.contract.messages import TRACE, batch
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender

BEAT = {
    "meta": {"trace_id": TRACE, "timestamp": "2025-11-20T22:00:00Z"},
    "payload": {
        "state": "running",
        "software": "0.1.0",
        "uptime_s": 3600,
        "clock": "ntp",
        "pending": 12,
        "oldest_pending_s": None,
        "meters": [{"meter_id": "tap-1", "state": "ok", "counts": 5}],
    },
}


def test_a_path_that_is_not_there(cloud: CloudUnderTest, sender: Sender) -> None:
    unsigned = cloud.client.get("/v1/nothing")
    assert (unsigned.status_code, unsigned.json["code"]) == (401, "bad-signature")
    signed = sender.request(b"", target="/v1/nothing", method="GET")
    assert (signed.status_code, signed.json["code"]) == (404, "not-found")
    assert "X-Signature" in signed.headers
    outside = cloud.client.get("/nothing")
    assert (outside.status_code, outside.json["code"], outside.mimetype) == (
        404,
        "not-found",
        "application/problem+json",
    )


def test_a_method_that_is_not_for_it(cloud: CloudUnderTest, sender: Sender) -> None:
    answer = sender.request(b"", method="GET")
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]
    assert "X-Signature" in answer.headers
    assert cloud.client.post("/healthz").status_code == 405


def test_an_unexpected_error_shows_only_its_trace_id(
    cloud: CloudUnderTest, sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("aquasmart_cloud.web.station_api.receive", broken)
    with caplog.at_level(logging.ERROR):
        answer = sender.send(batch())
    assert (answer.status_code, answer.json["code"], answer.json["trace_id"]) == (500, "internal", TRACE)
    assert "secret" not in answer.text
    assert "X-Signature" in answer.headers
    assert any(TRACE in record.getMessage() and record.exc_info for record in caplog.records)
    assert not any(cloud.stored().values())


def _do(cloud: CloudUnderTest, *statements: str) -> None:
    with cloud.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def _break(cloud: CloudUnderTest, verb: str, table: str) -> None:
    """Let the next such statement fail as a full disk would."""
    trigger = f"CREATE TRIGGER broken BEFORE {verb} ON {table}"
    if cloud.database.kind == "sqlite":
        _do(cloud, f"{trigger} BEGIN SELECT RAISE(ABORT, 'disk'); END")
        return
    function = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk'; END $$"
    _do(cloud, function, f"{trigger} FOR EACH ROW EXECUTE FUNCTION broken()")


def _mend(cloud: CloudUnderTest, table: str) -> None:
    _do(cloud, "DROP TRIGGER broken" if cloud.database.kind == "sqlite" else f"DROP TRIGGER broken ON {table}")


ON_SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    "table", ["stream", "epoch", "ledger_interval", "batch", "notable", "rollup", "station", "processing_log"]
)
def test_a_fault_of_the_database_at_any_statement_stores_nothing(
    table: str, cloud: CloudUnderTest, sender: Sender
) -> None:
    verb = "UPDATE" if table == "station" else "INSERT"
    _break(cloud, verb, table)
    run = Run(1_000_000)
    document = run.batch([1, 2], rows=[{"row": 1, "kind": "pour"}])
    answer = sender.send(document)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert "X-Signature" in answer.headers
    assert "disk" not in answer.text
    assert not any(cloud.stored().values())
    assert cloud.one("SELECT events FROM station") == 0
    _mend(cloud, table)
    assert sender.take(document)["inserted"] == 2
    cloud.assert_books_balance()


def test_a_database_locked_by_another_process_is_unavailable(cloud: CloudUnderTest, sender: Sender) -> None:
    patience = "PRAGMA busy_timeout=20" if cloud.database.kind == "sqlite" else "SET lock_timeout = 20"
    cloud.app.extensions["aquasmart"].database.connection().execute(patience)
    with cloud.database.writing():
        answer = sender.send(batch())
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert not any(cloud.stored().values())
    sender.take(batch())


@ON_SQLITE
def test_a_database_that_is_gone_is_unavailable(cloud: CloudUnderTest, sender: Sender) -> None:
    cloud.close()
    cloud.path.unlink()
    assert sender.send(batch()).status_code == 503
    assert cloud.client.get("/readyz").status_code == 503
    assert cloud.client.get("/healthz").status_code == 200
    assert not cloud.path.exists()


def test_a_database_without_its_tables_is_not_ready(cloud: CloudUnderTest, sender: Sender) -> None:
    assert cloud.client.get("/readyz").json == {"status": "ready"}
    _do(cloud, "UPDATE alembic_version SET version_num = '0000'")
    answer = cloud.client.get("/readyz")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "Retry-After" in answer.headers


def test_another_master_key_is_unavailable_and_says_nothing(cloud: CloudUnderTest, sender: Sender) -> None:
    cloud.app.extensions["aquasmart"].stations.keys = MasterKeys(bytes(32))
    answer = sender.send(batch())
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "master" not in answer.text


def test_a_heartbeat_is_kept_and_the_station_seen(cloud: CloudUnderTest, sender: Sender) -> None:
    for pending in (12, 3):
        document = json.loads(json.dumps(BEAT)) | {"payload": BEAT["payload"] | {"pending": pending}}
        answer = sender.request(json.dumps(document).encode(), target="/v1/heartbeat")
        assert answer.status_code == 200
        assert answer.json["meta"]["trace_id"] == TRACE
        assert answer.json["data"]["resend_from"] == []
        assert answer.json["data"]["notice"] == 0
    [(received_at, text)] = cloud.query("SELECT received_at, document FROM heartbeat")
    assert received_at == cloud.now_ms
    assert json.loads(text)["pending"] == 3
    assert cloud.one("SELECT last_seen_at FROM station") == cloud.now_ms


def test_a_heartbeat_into_a_broken_database(cloud: CloudUnderTest, sender: Sender) -> None:
    _break(cloud, "INSERT", "heartbeat")
    answer = sender.request(json.dumps(BEAT).encode(), target="/v1/heartbeat")
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert cloud.one("SELECT last_seen_at FROM station") is None


def test_the_answer_says_where_the_stream_stands(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(1_000_000)
    answer = sender.send(run.batch([450]))
    assert answer.json["data"] == {
        "stream": run.header["id"],
        "acked_through": 1,
        "inserted": 1,
        "duplicates": 0,
        "counts_through": 1_000_450,
        "cumulative_ul": 1_000_000,
        "config": {
            "version": 0,
            "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        },
        "notice": 0,
        "fleet": 1,
    }


def test_each_request_is_in_the_processing_log(cloud: CloudUnderTest, sender: Sender) -> None:
    document = Run(1_000_000).batch([1, 2])
    answers = [sender.send(document).json["meta"]["request_id"] for _ in range(2)]
    rows = cloud.query("SELECT log_id, request_id, trace_id, action, detail FROM processing_log ORDER BY log_id")
    assert [row[:4] for row in rows] == [
        (number, request_id, document["meta"]["trace_id"], "ingest") for number, request_id in enumerate(answers, 1)
    ]
    assert [json.loads(row[4])["inserted"] for row in rows] == [2, 0]


def test_the_same_batches_by_several_threads_at_once(cloud: CloudUnderTest, sender: Sender) -> None:
    run = Run(1_000_000)
    documents = [run.batch([1, 2, 3]) for _ in range(10)]
    inserted: list[int] = []
    faults: list[object] = []

    def send_all() -> None:
        other = Sender(cloud, sender.station_id, sender.key_id, sender.key)
        for document in documents:
            answer = other.send(document)
            if answer.status_code == 200:
                inserted.append(answer.json["data"]["inserted"])
            else:
                faults.append(answer.json)
        cloud.app.extensions["aquasmart"].database.close()

    threads = [threading.Thread(target=send_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(inserted) == 30
    assert cloud.one("SELECT events FROM station") == 30
    assert cloud.entries() == {}
    cloud.assert_books_balance()
