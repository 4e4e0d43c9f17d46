"""Any story of sending, repeating, rewording, failing and correcting ends in books that a plain list agrees with."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aquasmart_cloud.config import Config
from aquasmart_cloud.core.fault_names import DB_AFTER, DB_BEFORE, DB_WITHIN
from aquasmart_cloud.store.clients import Clients
from aquasmart_cloud.web.app import create_app
from tests.integration.cloud.senders import CloudUnderTest, Run

PERSON = {"Authorization": "Bearer correct-horse-battery-staple"}
QUIET = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)

AMOUNTS = {"1200": ["1,200", "1200.0", "$1200", 1200], "0.5": [0.5, ".5", "0.50 €"], "bad": ["x", 0, "-1", None]}
METRICS = {"sale": ["sale", " Sale", "SALE"], "tip": ["tip", "TIP "]}
TIMES = {1: ["2024-03-01T10:15:00Z", 1_709_288_100], 2: ["2024-03-02 00:00", "02/03/2024", 1_709_337_600_000]}


def wording(table: dict[Any, list[Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    """A meaning, and one of the ways to write it."""
    return st.sampled_from([(meaning, each) for meaning, ways in table.items() for each in ways])


EVENT = st.tuples(st.sampled_from([None, "1", "2", 3]), wording(METRICS), wording(AMOUNTS), wording(TIMES))
FAULT = st.sampled_from([None, None, None, DB_BEFORE, DB_WITHIN, DB_AFTER])


class Books:
    """What should be there, kept as anybody would on paper: ids and contents, each counted once."""

    def __init__(self) -> None:
        self.by_id: dict[str, Any] = {}
        self.counted: list[tuple[Any, ...]] = []
        self.failed: set[str] = set()

    def take(self, raw: dict[str, Any], given_id: str | None, content: tuple[Any, ...]) -> str:
        if content[1] == "bad":
            self.failed.add(json.dumps(raw, sort_keys=True))
            return "failed"
        if given_id is not None and self.by_id.setdefault(given_id, content) != content:
            self.failed.add(json.dumps(raw, sort_keys=True))
            return "failed"
        if (given_id, content) in self.counted:
            return "duplicate"
        self.counted.append((given_id, content))
        return "processed"


def raw_of(event: Any) -> tuple[dict[str, Any], str | None, tuple[Any, ...]]:
    given_id, (metric, metric_said), (amount, amount_said), (at, at_said) = event
    raw = {"metric": metric_said, "amount": amount_said, "timestamp": at_said}
    if given_id is not None:
        raw["id"] = given_id
    return raw, None if given_id is None else str(given_id), (metric, amount, at)


def new_cloud(folder: Path) -> CloudUnderTest:
    """A cloud that fails on request."""
    cloud = CloudUnderTest(folder)
    config = Config(cloud.config.database_url, cloud.config.master_key, cloud.config.admin_token, faults="header")
    cloud.app = create_app(config, clock_ms=lambda: cloud.now_ms)
    cloud.client = cloud.app.test_client()
    return cloud


@QUIET
@given(st.lists(st.tuples(st.lists(EVENT, min_size=1, max_size=4), FAULT), max_size=12))
def test_any_story_ends_in_books_that_agree(story: list[tuple[list[Any], str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cloud, books = new_cloud(Path(folder)), Books()
        token = {"Authorization": f"Bearer {Clients(cloud.database).add('acme', 1).token}"}
        for events, fault in story:
            said = [raw_of(event) for event in events]
            body = {"events": [raw for raw, _, _ in said]}
            former = len(books.counted)
            if fault is not None:
                asked = cloud.client.post("/api/events", json=body, headers=token | {"X-Fault": fault})
                repeats = asked.status_code == 200
                assert repeats or asked.status_code == 503
            answer = cloud.client.post("/api/events", json=body, headers=token).json
            expected = [books.take(*each) for each in said]
            assert [each["status"] == "failed" for each in answer["events"]] == [each == "failed" for each in expected]
            if fault is None:
                assert [each["status"] for each in answer["events"]] == expected
            assert len(books.counted) >= former
        assert_books(cloud, token, books)
        cloud.close()


def assert_books(cloud: CloudUnderTest, token: dict[str, str], books: Books) -> None:
    """Events, figures of every grain, and failures are those on paper."""
    total = sum((Decimal(content[1]) for _, content in books.counted), Decimal(0))
    assert cloud.one("SELECT count(*) FROM foreign_event") == len(books.counted)
    assert cloud.one("SELECT count(*) FROM failed_event") == len(books.failed)
    for grain in ("minute", "hour", "day"):
        rows = cloud.query("SELECT events, amount_sum FROM foreign_rollup WHERE grain = ?", grain)
        assert (sum(row[0] for row in rows), sum((Decimal(row[1]) for row in rows), Decimal(0))) == (
            len(books.counted),
            total,
        )
    by_metric = cloud.client.get("/api/aggregations?group_by=metric", headers=token).json["groups"]
    assert {each["metric"]: each["count"] for each in by_metric} == {
        metric: number for metric in METRICS if (number := sum(content[0] == metric for _, content in books.counted))
    }


@QUIET
@given(
    st.binary(max_size=200) | st.text(max_size=80).map(str.encode),
    st.dictionaries(
        st.sampled_from(["Content-Encoding", "Content-Type", "X-Fault", "X-Station-Id", "traceparent"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
        max_size=3,
    ),
    st.booleans(),
)
def test_whatever_bytes_come_there_is_no_500_and_nothing_unasked_is_stored(
    shared: tuple[CloudUnderTest, dict[str, str]], body: bytes, headers: dict[str, str], known: bool
) -> None:
    cloud, token = shared
    before = cloud.one("SELECT count(*) FROM foreign_event") + cloud.one("SELECT count(*) FROM failed_event")
    answer = cloud.client.post("/api/events", data=body, headers=headers | (token if known else {}))
    assert answer.status_code in ({201, 200, 207, 400, 409, 413, 415, 422} if known else {401, 422})
    if not known:
        assert before == cloud.one("SELECT count(*) FROM foreign_event") + cloud.one(
            "SELECT count(*) FROM failed_event"
        )


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    cloud = new_cloud(tmp_path)
    yield cloud, {"Authorization": f"Bearer {Clients(cloud.database).add('acme', 1).token}"}
    cloud.close()


@pytest.mark.parametrize(("fault", "stored"), [(DB_BEFORE, 0), (DB_WITHIN, 0), (DB_AFTER, 1)])
def test_a_stations_batch_survives_the_same_faults(tmp_path: Path, fault: str, stored: int) -> None:
    cloud = new_cloud(tmp_path)
    sender = cloud.station()
    body = json.dumps(Run(1_000_000).batch([1, 2])).encode()
    failed = sender.request(body, extra={"X-Fault": fault})
    assert (failed.status_code, failed.json["code"]) == (503, "unavailable")
    assert cloud.one("SELECT count(*) FROM batch") == stored
    again = sender.request(body)
    assert (again.status_code, again.json["data"]["inserted"]) == (200, 2 - 2 * stored)
    cloud.assert_books_balance()
    cloud.close()
