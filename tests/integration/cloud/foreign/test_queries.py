"""Reading foreign events back: pages, filters, figures, exports; never another's, never all in memory."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pyarrow import parquet

from tests.integration.cloud.foreign.gunicorn import ClientOf, Served, event

MINUTE_MS = 60_000
START_MS = 1_709_287_200_000
"""2024-03-01T10:00Z."""


def sent(number: int) -> dict[str, Any]:
    """Event `number` of the fixture: every 20 minutes, three metrics, two stations."""
    metric, station = ("Sale", "refund", "tip")[number % 3], ("demo-1", None)[number % 2]
    at = START_MS + number * 20 * MINUTE_MS
    return event(id=f"n{number}", metric=metric, station=station, amount=f"{number + 1}.25", timestamp=at)


COUNT = 250


@pytest.fixture(scope="module")
def reader(served: Served) -> Iterator[ClientOf]:
    client = served.client("reader")
    numbers = list(range(COUNT))
    random.Random(5).shuffle(numbers)
    for start in range(0, COUNT, 50):
        assert client.send({"events": [sent(number) for number in numbers[start : start + 50]]}).status == 201
    client.send(event(amount="?"))
    return client


def pages(client: ClientOf, query: str) -> list[dict[str, Any]]:
    """Every event of a query, page after page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = client.get(f"/api/events?{query}{cursor}").json
        found += page["events"]
        if page["next"] is None:
            return found
        cursor = f"&after={page['next']}"


@pytest.mark.parametrize("limit", [1, 7, 250, 1000])
def test_pages_hold_every_event_once_in_order_of_time(reader: ClientOf, limit: int) -> None:
    if limit == 1:
        found = pages(reader, f"limit=1&to={START_MS + 10 * 20 * MINUTE_MS}")
        assert [each["id"] for each in found] == [f"n{number}" for number in range(10)]
        return
    assert [each["id"] for each in pages(reader, f"limit={limit}")] == [f"n{number}" for number in range(COUNT)]


def test_filters_of_metric_station_and_time(reader: ClientOf) -> None:
    assert len(pages(reader, "metric=SALE")) == len(range(0, COUNT, 3))
    assert len(pages(reader, "station=demo-1")) == COUNT / 2
    day = pages(reader, "from=2024-03-02&to=2024-03-03T00:00:00Z")
    assert [each["timestamp"][:10] for each in day] == ["2024-03-02"] * 72
    assert pages(reader, "metric=nothing") == []


def test_failed_events_by_status(reader: ClientOf) -> None:
    [failed] = reader.get("/api/events?status=failed").json["events"]
    assert (failed["status"], failed["original"]["amount"]) == ("failed", "?")


def test_pages_over_all_clients(served: Served, reader: ClientOf) -> None:
    other = served.client("another reader")
    other.send({"events": [event(id=str(number), amount=1) for number in range(5)]})
    cursor, seen = "", Counter[str]()
    while True:
        page = served.person("GET", f"/api/events?limit=40{cursor}").json
        seen.update(each["client_id"] for each in page["events"])
        if page["next"] is None:
            break
        cursor = f"&after={page['next']}"
    assert seen[reader.client_id] == COUNT
    assert seen[other.client_id] == 5
    failed = served.person("GET", "/api/failed-events?limit=1").json
    following = served.person("GET", f"/api/failed-events?limit=1&after={failed['next']}").json
    assert following["events"] == [] or following["events"][0]["event_id"] != failed["events"][0]["event_id"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "after=x",
        "after=c_x.1.99999999999999999999",
        "from=yesterday",
        "status=gone",
        "metric=",
        "metric=%00",
        "client=Not+A+Client",
    ],
)
def test_questions_that_cannot_be_answered_name_the_parameter(served: Served, query: str) -> None:
    answer = served.person("GET", f"/api/events?{query}")
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert query.partition("=")[0] in answer.json["detail"]


def test_figures_are_exact_and_grouped(reader: ClientOf) -> None:
    [whole] = reader.get("/api/aggregations").json["groups"]
    amounts = [Decimal(number + 1) + Decimal("0.25") for number in range(COUNT)]
    assert (whole["count"], Decimal(whole["sum"])) == (COUNT, sum(amounts))
    assert (whole["min"], whole["max"], Decimal(whole["mean"])) == ("1.25", "250.25", sum(amounts) / COUNT)
    for name, true in (("p50", 125), ("p90", 225), ("p99", 248)):
        assert abs(Decimal(whole[name]) - true) <= Decimal("0.01") * true
    for group_by in ("minute", "hour", "day", "month", "metric", "station", "client", "metric,day", "station,hour"):
        groups = reader.get(f"/api/aggregations?group_by={group_by}").json["groups"]
        assert sum(each["count"] for each in groups) == COUNT
        assert sum(Decimal(each["sum"]) for each in groups) == sum(amounts)
        keys = [tuple(each[name] for name in group_by.split(",")) for each in groups]
        assert len(set(keys)) == len(keys)
    hours = reader.get("/api/aggregations?group_by=hour&from=2024-03-01T10:00&to=2024-03-01T12:00").json["groups"]
    assert [(each["hour"], each["count"]) for each in hours] == [(START_MS, 3), (START_MS + 60 * MINUTE_MS, 3)]
    part = reader.get("/api/aggregations?from=2024-03-01T10:00&to=2024-03-01T10:41&metric=sale").json["groups"]
    assert [(each["count"], each["sum"]) for each in part] == [(1, "1.25")]
    months = reader.get("/api/aggregations?group_by=month,metric").json["groups"]
    assert {each["month"] for each in months} == {1_709_251_200_000}
    assert {each["metric"] for each in months} == {"sale", "refund", "tip"}


@pytest.mark.parametrize(
    "query", ["group_by=week", "group_by=day,day", "group_by=day,hour", "from=1709287200001", "of=x"]
)
def test_figures_that_cannot_be_given(served: Served, query: str) -> None:
    assert served.person("GET", f"/api/aggregations?{query}").status == 422


@pytest.mark.parametrize(("first", "last"), [(0, COUNT), (3, 100), (1, 2), (17, 231)])
def test_figures_between_any_two_minutes_are_those_of_the_events(reader: ClientOf, first: int, last: int) -> None:
    edges = [START_MS + number * 20 * MINUTE_MS for number in (first, last)]
    span = "from={}&to={}".format(*(edge // 1000 for edge in edges))
    total = sum(Decimal(number + 1) + Decimal("0.25") for number in range(first, last))
    for by in ("", "&group_by=day", "&group_by=hour", "&group_by=month,metric"):
        groups = reader.get(f"/api/aggregations?{span}{by}").json["groups"]
        assert sum(each["count"] for each in groups) == last - first
        assert sum(Decimal(each["sum"]) for each in groups) == total


def test_figures_of_the_stations(served: Served, reader: ClientOf) -> None:
    served.stations_add("tap-7")
    epoch = "0123456789abcdef0123456789abcdef"
    served.execute(
        "INSERT INTO epoch (station_id, meter_id, epoch, identity_strong, epoch_from, root_epoch, shift_counts,"
        " counts_through, opened_at) VALUES ('tap-7', 'm', ?, FALSE, 0, ?, 0, 0, 0)",
        epoch,
        epoch,
    )
    for grain, bucket in (("day", 1_709_251_200_000), ("hour", START_MS), ("minute", START_MS)):
        served.execute("INSERT INTO rollup VALUES ('tap-7', 'm', ?, ?, 1500000, 0, 10)", grain, bucket)
    groups = served.person("GET", "/api/aggregations?of=stations&group_by=station,month").json["groups"]
    assert {"station": "tap-7", "month": 1_709_251_200_000, "count": 10, "sum": "1500000"} in groups
    assert served.person("GET", "/api/aggregations?of=stations&station=nobody").json["groups"] == []
    assert reader.get("/api/aggregations?of=stations").status == 403


def test_exports_hold_everything(reader: ClientOf) -> None:
    lines = reader.get("/api/events.jsonl")
    rows = [json.loads(line) for line in lines.body.splitlines()]
    assert [each["id"] for each in rows] == [f"n{number}" for number in range(COUNT)]
    table = reader.get("/api/events.csv?metric=tip")
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    records = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert [(each["id"], each["metric"]) for each in records] == [(f"n{n}", "tip") for n in range(2, COUNT, 3)]
    assert sum(Decimal(each["amount"]) for each in records) == sum(
        Decimal(n + 1) + Decimal("0.25") for n in range(2, COUNT, 3)
    )
    assert reader.get("/api/events.csv?metric=nothing").body.count(b"\n") == 1
    assert reader.get("/api/events.xls").status == 404


def test_a_spreadsheet_runs_no_formula_of_a_sender(served: Served) -> None:
    client = served.client("formula")
    client.send(event(metric="=HYPERLINK(1)", source="@x", id="+1"))
    [row] = csv.DictReader(io.StringIO(client.get("/api/events.csv").body.decode()))
    assert (row["metric"], row["source"], row["event_id"]) == ("'=HYPERLINK(1)", "'@x", "'+1")


def test_health_is_open_and_says_no_figure(served: Served) -> None:
    answer = served.ask("GET", "/api/health")
    assert (answer.status, answer.json["status"], set(answer.json)) == (200, "ok", {"status", "database", "version"})


def test_parquet_holds_the_same_rows(reader: ClientOf) -> None:
    answer = reader.get("/api/events.parquet")
    assert answer.status == 200
    rows = parquet.read_table(io.BytesIO(answer.body)).to_pylist()
    assert [each["id"] for each in rows] == [f"n{number}" for number in range(COUNT)]
    assert {type(each["at"]) for each in rows} == {int}
    assert [each["amount"] for each in rows[:2]] == ["1.25", "2.25"]
    assert parquet.read_table(io.BytesIO(reader.get("/api/events.parquet?metric=none").body)).num_rows == 0


def test_an_export_of_many_events_needs_the_memory_of_a_few(served: Served) -> None:
    """100,000 events are 60 MB as JSON Lines; the server's memory must not grow with them."""
    client = served.client("long export")
    client.send(event(id="0"))
    served.execute(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
        " INSERT INTO foreign_event SELECT client_id, i, 'e' || i, metric, station, at + i, amount, normalised,"
        " CAST(? AS TEXT), normaliser, raw, received_at FROM foreign_event, n WHERE client_id = ?",
        json.dumps(["x" * 200]),
        client.client_id,
    )
    client.get("/api/events.jsonl?to=2024-03-01T10:15:05")
    before_kb = served.peak_kb()
    lines = sum(1 for _ in served.stream("/api/events.jsonl", client.token))
    assert lines == 100_000
    assert served.peak_kb() - before_kb < 10_000
