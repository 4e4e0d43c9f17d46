"""The cloud against the contract: its verdict on every request, its books after every sequence of them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from aquasmart_cloud.config import Config
from aquasmart_cloud.core import signing
from aquasmart_cloud.store.database import Database
from aquasmart_cloud.store.migrating import upgrade
from aquasmart_cloud.store.sealing import seal
from aquasmart_cloud.web.app import create_app
from tests.contract import reference as ref
from tests.contract.vectors import cases

Case = dict[str, Any]
MASTER_KEY = bytes(range(100, 132))
KEYS = [
    (ref.STATION, ref.KEY_ID, ref.KEY, None),
    (ref.STATION, ref.REVOKED_KEY_ID, ref.REVOKED_KEY, 1),
    (ref.RETIRED_STATION, ref.KEY_ID, ref.RETIRED_KEY, None),
]
GROWING = ("stream", "epoch", "ledger_interval", "batch", "notable", "rollup", "ledger_entry", "heartbeat")
COMPARED = {"hole", "overlap", "claim-difference", "row-difference"}


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fresh cloud of tests/contract/README.md, made once and copied for each case."""
    path = tmp_path_factory.mktemp("contract") / "fresh.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    with sqlite3.connect(path) as connection:
        for station, state in ((ref.STATION, "active"), (ref.RETIRED_STATION, "retired")):
            connection.execute(
                "INSERT INTO station (station_id, name, state, created_at, hardware_seen, events, volume_ul,"
                " disputed_ul) VALUES (?, ?, ?, 1, '[]', 0, 0, 0)",
                (station, station, state),
            )
        for station, key_id, key, revoked_at in KEYS:
            sealed = seal(MASTER_KEY, station, key_id, key)
            connection.execute("INSERT INTO station_key VALUES (?, ?, ?, 1, ?)", (station, key_id, sealed, revoked_at))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def database(fresh_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(fresh_database, tmp_path / "cloud.db"))


@pytest.fixture
def client(database: Path) -> FlaskClient:
    config = Config(database_url=f"sqlite:///{database}", master_key=MASTER_KEY, admin_token="contract-" * 4)
    # The vectors are whole requests, signatures included, so the clock has to stand where theirs does.
    return create_app(config, clock_ms=lambda: ref.NOW_MS).test_client()


def _send(client: FlaskClient, given: Case) -> TestResponse:
    headers = Headers([(name, value) for name, value in given["headers"]])
    return client.open(given["target"], method=given["method"], headers=headers, data=ref.body_of(given["body"]))


def _signed(given: Case, answer: TestResponse) -> bool:
    """Whether the answer carries a signature; a wrong one is an error, not an unsigned answer."""
    signature = answer.headers.get("X-Signature")
    if signature is None:
        return False
    sent = dict(given["headers"])
    [key] = [key for station, key_id, key, _ in KEYS if (station, key_id) == (sent["X-Station-Id"], sent["X-Key-Id"])]
    string = ref.reply_string(answer.headers["X-Timestamp"], answer.status_code, sent["X-Signature"], answer.get_data())
    assert signature == ref.signature(key, string)
    return True


def _rows(database: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in GROWING}


@pytest.mark.parametrize("case", cases("verdicts", "valid"))
def test_a_good_request_is_taken(case: Case, client: FlaskClient) -> None:
    answer = _send(client, case["input"])
    assert (answer.status_code, answer.json["data"] if answer.json else None) == (200, answer.json["data"]), answer.text
    said = answer.json["data"]
    assert {name: said[name] for name in case["expected"]["data"]} == case["expected"]["data"]
    assert _signed(case["input"], answer)
    assert set(answer.json["meta"]) >= {"trace_id", "server_time", "request_id"}
    assert answer.json["meta"]["server_time"] == ref.NOW_MS


@pytest.mark.parametrize("case", cases("verdicts", "refused"))
def test_a_bad_request_is_refused_and_nothing_is_stored(case: Case, client: FlaskClient, database: Path) -> None:
    answer = _send(client, case["input"])
    expected = case["expected"]
    problem = json.loads(answer.get_data())
    assert (answer.status_code, problem["code"]) == (expected["status"], expected["code"]), problem
    assert answer.mimetype == "application/problem+json"
    assert problem["type"] == f"urn:aquasmart:problem:{problem['code']}"
    assert problem["status"] == answer.status_code
    assert problem["server_time"] == ref.NOW_MS
    assert isinstance(problem["errors"], list)
    assert _signed(case["input"], answer) is expected["signed"]
    assert not any(_rows(database).values())


def test_every_unauthenticated_refusal_reads_the_same(client: FlaskClient) -> None:
    said = set()
    for parameter in cases("verdicts", "refused"):
        case = parameter.values[0]
        if case["expected"]["code"] == "bad-signature":
            answer = _send(client, case["input"])
            said.add(tuple(answer.json[name] for name in ("type", "title", "status", "detail", "code")))
    assert len(said) == 1


@pytest.mark.parametrize("case", cases("sequences"))
def test_a_sequence_leaves_the_books_as_stated(case: Case, client: FlaskClient, database: Path) -> None:
    expected = case["expected"]
    for given, wanted in zip(case["input"]["requests"], expected["answers"], strict=True):
        answer = _send(client, given)
        assert answer.status_code == wanted["status"], answer.text
        document = answer.json["data"] if wanted["status"] == 200 else answer.json
        compared = wanted["data"] if wanted["status"] == 200 else wanted
        assert {name: document.get(name) for name in compared} == compared
        assert _signed(given, answer)
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        where = f"FROM station WHERE station_id = '{ref.STATION}'"
        assert connection.execute(f"SELECT events, volume_ul {where}").fetchone() == (
            expected["events"],
            expected["volume_ul"],
        )
        query = "SELECT kind, sum(volume_ul) FROM ledger_entry WHERE state = 'open' GROUP BY kind"
        named = {kind: volume for kind, volume in connection.execute(query) if kind in COMPARED}
        rolled = connection.execute("SELECT grain, sum(volume_ul) FROM rollup GROUP BY grain").fetchall()
    assert named.keys() == expected["differences"].keys()
    assert {kind: named[kind] for kind, volume in expected["differences"].items() if volume is not None} == {
        kind: volume for kind, volume in expected["differences"].items() if volume is not None
    }
    assert all(volume == expected["volume_ul"] for _, volume in rolled)


def _verify(given: Case) -> bool:
    prefix = signing.signing_prefix(
        given["timestamp"],
        given["method"],
        given["target"],
        given["station"],
        given["encoding"],
        given["idempotency_key"],
        given["if_match"],
    )
    key, body = bytes.fromhex(given["key"]), ref.body_of(given["body"])
    return signing.verify(key, prefix, body, given["signature"])


@pytest.mark.parametrize("case", cases("signing", "request", "forged"))
def test_the_cloud_verifies_no_forgery(case: Case) -> None:
    assert not _verify(case["input"])


@pytest.mark.parametrize("case", cases("signing", "request", "valid"))
def test_the_cloud_verifies_what_a_station_signs(case: Case) -> None:
    assert _verify(case["input"] | {"signature": case["expected"]["signature"]})


@pytest.mark.parametrize("case", cases("signing", "answer", "valid"))
def test_the_cloud_signs_answers_as_stated(case: Case) -> None:
    given = case["input"]
    made: Callable[..., str] = signing.sign_reply
    body = ref.body_of(given["body"])
    key, sent = bytes.fromhex(given["key"]), given["request_signature"]
    assert made(key, int(given["timestamp"]), given["status"], sent, body) == given["signature"]
