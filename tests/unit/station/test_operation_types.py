"""The table of operations and their way onto the wire, row by row of the specification's router."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.errors import BadOperation
from aquasmart_station.core.operations import (
    FAST,
    SLOW,
    TYPES,
    checked,
    encode_operation,
    from_wire,
    parameters_of,
    rfc3339,
    to_wire,
)

TRACE = "0123456789abcdef0123456789abcdef"
AT_MS = 1_763_676_000_123


def parameters(name: str) -> dict[str, object]:
    """Something for every parameter that a type needs."""
    return {each: AT_MS if each.endswith("_at_ms") else f"a {each}/ü" for each in TYPES[name].required}


def sent(name: str, **changes: object) -> tuple[str, str, dict[str, dict[str, object]]]:
    given = parameters(name) | changes
    request = encode_operation(name, given, trace_id=TRACE, created_at_ms=AT_MS, txn_token=None)
    return request.method, request.target, json.loads(request.body)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_o1_every_type_has_its_method_and_path(name: str) -> None:
    method, target, _ = sent(name)
    assert method == "POST"
    assert re.fullmatch(rf"/v1/operations/{name}(/[A-Za-z0-9%._~-]+)*", target)
    assert target.count("/") == 3 + len(TYPES[name].in_path)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_o2_what_stands_in_the_path_is_not_in_the_body(name: str) -> None:
    _, _, body = sent(name)
    names = {each.removesuffix("_ms") if each.endswith("_at_ms") else each for each in TYPES[name].required}
    assert body["payload"].keys() == names - set(TYPES[name].in_path)


def test_o2_a_parameter_cannot_break_out_of_its_place() -> None:
    _, target, _ = sent("meter_change", meter_id="../../v1/ingest?x=1#")
    assert target == "/v1/operations/meter_change/..%2F..%2Fv1%2Fingest%3Fx%3D1%23"


def test_o3_times_change_their_name_and_form_and_come_back() -> None:
    _, _, body = sent("service_visit")
    assert body["payload"]["visited_at"] == "2025-11-20T22:00:00.123Z"
    assert from_wire(body["payload"])["visited_at_ms"] == AT_MS


@given(st.dictionaries(st.sampled_from(["note", "value", "moved_at_ms"]), st.integers(0, 4_000_000_000_000)))
def test_o3_there_and_back_is_the_same(given: dict[str, int]) -> None:
    assert from_wire(to_wire(given)) == given


@pytest.mark.parametrize("value", ["yesterday", True, 1.5, None, 10**18])
def test_o3_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(BadOperation):
        to_wire({"visited_at_ms": value})


def test_o3_an_answer_s_text_that_is_no_time_stays_as_it_is() -> None:
    said = {"moved_at": "never", "other_at": "2025-11-20T22:00:00", "at": "2025-11-20T22:00:00Z"}
    assert from_wire(said) == said


@pytest.mark.parametrize("name", sorted(TYPES))
def test_o4_each_missing_parameter_is_named(name: str) -> None:
    for each in TYPES[name].required:
        left = {key: value for key, value in parameters(name).items() if key != each}
        with pytest.raises(BadOperation, match=rf"lacks {each}$"):
            checked(name, left)


def test_o5_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadOperation, match="no type") as caught:
        checked("self_destruct", {})
    assert all(name in caught.value.hint for name in TYPES)


def test_e9_the_token_is_there_only_where_there_is_one() -> None:
    _, _, body = sent("service_visit")
    assert body["meta"] == {"trace_id": TRACE, "timestamp": rfc3339(AT_MS)}
    request = encode_operation(
        "service_visit", parameters("service_visit"), trace_id=TRACE, created_at_ms=AT_MS, txn_token="t-1"
    )
    assert json.loads(request.body)["meta"]["txn_token"] == "t-1"


def test_a_retry_has_the_same_bytes() -> None:
    assert sent("local_change") == sent("local_change")


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", '"text"', "[" * 100_000])
def test_d5_damaged_parameters_are_named(text: str) -> None:
    with pytest.raises(BadOperation, match="damaged"):
        parameters_of(text)


@pytest.mark.parametrize(
    ("profile", "attempt", "least_s", "most_s"),
    [(FAST, 1, 0.25, 0.75), (FAST, 20, 15, 30), (SLOW, 1, 2.5, 7.5), (SLOW, 20, 150, 300)],
)
def test_b12_b13_profiles(profile: object, attempt: int, least_s: float, most_s: float) -> None:
    delays = [profile.backoff.delay_s(attempt, draw / 100) for draw in range(100)]  # type: ignore[attr-defined]
    assert (min(delays), max(delays)) == (pytest.approx(least_s), pytest.approx(most_s, rel=0.02))
    assert profile.attempts == 5  # type: ignore[attr-defined]


def test_b12_b13_what_is_large_and_in_no_hurry_is_the_slow_one() -> None:
    assert {name for name, row in TYPES.items() if row.profile is SLOW} == {"diagnostics_bundle"}
