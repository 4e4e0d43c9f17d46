"""Identities of foreign events, bodies read exactly, and percentiles that merge."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_cloud.core.identity import content_identity, id_identity, raw_identity
from aquasmart_cloud.core.normalising.event import Normalised, normalise
from aquasmart_cloud.core.normalising.reading import canonical, read_events, read_json
from aquasmart_cloud.core.normalising.rules import Rules
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.sketch import Sketch, bucket_of
from aquasmart_cloud.core.tally import Tally

GOOD: dict[str, Any] = {"source": "pos", "metric": "sale", "amount": 1200, "timestamp": "2024-03-01T10:15:00Z"}


def content_of(changes: dict[str, Any]) -> bytes:
    found = normalise(GOOD | changes, Rules("c_acme"))
    assert isinstance(found, Normalised), found
    return content_identity(found)


@pytest.mark.parametrize(
    "same",
    [
        {"amount": "1,200"},
        {"amount": "1200.0"},
        {"amount": "$1200"},
        {"amount": Decimal("1.2E+3")},
        {"metric": " SALE "},
        {"source": "Pos"},
        {"timestamp": 1_709_288_100},
        {"timestamp": "2024-03-01T11:15:00+01:00"},
        {"colour": "blue"},
    ],
)
def test_f6_the_same_content_however_it_is_written(same: dict[str, Any]) -> None:
    assert content_of(same) == content_of({})


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "1200.000000001"},
        {"metric": "sales"},
        {"source": "pos2"},
        {"timestamp": "2024-03-01T10:15:00.000000001Z"},
        {"id": "1"},
        {"station": "demo-1"},
    ],
)
def test_f6_other_content_has_another_identity(other: dict[str, Any]) -> None:
    assert content_of(other) != content_of({})


def test_kinds_of_identity_are_never_mixed() -> None:
    assert len({raw_identity("1"), id_identity("1"), content_of({}), content_of({"id": "1"})}) == 4
    assert content_of({"source": "ab", "metric": "c"}) != content_of({"source": "a", "metric": "bc"})
    assert id_identity("a") != id_identity("A")


def test_a_released_identity_never_changes() -> None:
    """Retries arrive years later: these hashes stand in databases."""
    assert content_of({}).hex() == "e2671bcfdb96260ec68d4fa7b4c17556a506eb80ba908ca77d94919ef73c39bb"
    assert (
        raw_identity({"b": Decimal("1.10"), "a": [None, True]}).hex()
        == "6f57660577fee59bf2531841cea655d661174a848ac4f4d5dd2dfa3e05890aa3"
    )


def test_the_raw_identity_ignores_only_the_order_of_keys() -> None:
    assert raw_identity(read_json(b'{"a":1,"b":1.10}')) == raw_identity(read_json(b' { "b":1.10, "a":1 }'))
    assert raw_identity(read_json(b'{"a":1.1}')) != raw_identity(read_json(b'{"a":1.10}'))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff{}", "malformed"),
        (b'"text"', "invalid"),
        (b"5", "invalid"),
        (b"[]", "invalid"),
        (b'{"events":[]}', "invalid"),
        (b'{"a":1,"a":2}', "invalid"),
        (b'{"a":"\\ud800"}', "invalid"),
        (b'{"\\udfff":1}', "invalid"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "invalid"),
        (b'{"a":' + b"[" * 100_001 + b"]" * 100_001 + b"}", "invalid"),
        (b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "invalid"),
        (json.dumps({"events": [1] * 1001}).encode(), "too-large"),
    ],
)
def test_bodies_that_cannot_be_taken_apart_are_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_events(body)
    assert caught.value.type.code == code


def test_one_or_many_events() -> None:
    assert read_events(b'{"a":1}') == ([{"a": 1}], True)
    assert read_events(b'{"events":[{"a":1},2]}') == ([{"a": 1}, 2], False)
    assert read_events(b'[{"a":1}]') == ([{"a": 1}], False)
    assert read_events(b'{"events":5}') == ([{"events": 5}], True)


def test_f9_numbers_that_are_none_become_their_names() -> None:
    assert read_json(b"[NaN,Infinity,-Infinity,1E400]") == ["NaN", "Infinity", "-Infinity", Decimal("1E+400")]
    assert read_json(b"[1e99999999999999999999999]") == ["1e99999999999999999999999"]
    assert read_json(b"[" + b"9" * 5000 + b"]") == ["9" * 5000]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**200), 2**200), st.text(st.characters(codec="utf-8"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_kept_reads_back_as_what_came(value: Any) -> None:
    assert read_json(canonical(value)) == value
    assert canonical(read_json(canonical(value))) == canonical(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        events, _ = read_events(body)
    except Refusal as refusal:
        status = refusal.status
    else:
        status = 200 if events else 500
    assert status in {200, 400, 413, 422}


@given(st.lists(st.integers(1, 10**24), min_size=1, max_size=60), st.integers(1, 99))
def test_percentiles_are_within_half_a_percent_of_the_nearest_rank(values: list[int], percent: int) -> None:
    values.sort()
    true = values[max(1, -(-len(values) * percent // 100)) - 1]
    found = Sketch.of(values).quantile(percent, values[0], values[-1])
    assert abs(found - true) * 200 <= true


@given(st.lists(st.integers(1, 10**24), max_size=40), st.lists(st.integers(1, 10**24), max_size=40))
def test_sketches_merge_and_are_stored_without_loss(one: list[int], two: list[int]) -> None:
    merged = Sketch.of_text(Sketch.of(one).text())
    merged.merge(Sketch.of(two))
    assert merged.text() == Sketch.of(one + two).text() == Sketch.of_text(merged.text()).text()


@given(st.integers(1, 10**24))
def test_buckets_keep_the_order(value: int) -> None:
    assert bucket_of(value) <= bucket_of(value + 1) <= bucket_of(value) + 1


def test_an_empty_sketch_has_no_percentile() -> None:
    assert Sketch.of_text("").counts == {}
    with pytest.raises(ValueError, match="nothing"):
        Sketch().quantile(50, 1, 2)
    with pytest.raises(ValueError, match="above zero"):
        bucket_of(0)


@given(st.lists(st.integers(1, 10**24), max_size=30), st.integers(0, 30))
def test_figures_added_up_in_parts_are_those_of_the_whole(values: list[int], cut: int) -> None:
    parts = [Tally(), Tally(), Tally()]
    for value in values[:cut]:
        parts[0].add(value)
    for value in values[cut:]:
        parts[1].add(value)
    whole = parts[2]
    for part in parts[:2]:
        whole.merge(part)
    assert (whole.count, whole.sum_nano) == (len(values), sum(values))
    if values:
        assert (whole.least_nano, whole.most_nano) == (min(values), max(values))
        assert set(whole.document()) == {"count", "sum", "min", "max", "mean", "p50", "p90", "p99"}
    else:
        assert whole.document() == {"count": 0, "sum": "0", "min": "0", "max": "0", "mean": "0"}
