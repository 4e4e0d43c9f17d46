"""The table of operations: paths, names and times, and what is refused before any request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.errors import BadOperation
from aquasmart_station.core.operations import (
    ATTEMPTS,
    FAST,
    SLOW,
    TYPES,
    checked,
    encode_operation,
    from_wire,
    parameters_of,
    rfc3339,
    to_wire,
    type_of,
)

SAMPLES: dict[str, dict[str, Any]] = {
    "config_applied": {"version": 3, "sha256": "ab" * 32, "result": "applied", "reasons": []},
    "local_change": {"key": ["reader", "poll_hz"], "value": 5, "former": None, "change_token": "t"},
    "service_visit": {"technician": "Ada", "note": "ok", "visited_at_ms": 1_763_676_000_123},
    "meter_change": {"meter_id": "tap 1/2", "change_token": "t", "changed_at_ms": 0},
    "notice_received": {"number": 12, "received_at_ms": 1},
    "diagnostics_bundle": {"document": {"nested": [1, None]}},
    "key_confirm": {"key_id": "k2", "base_key_id": "k1", "nonce": "0" * 64},
    "resend_event": {"stream": "0b9c", "seq": 7, "kind": "pour"},
    "update_result": {
        "rollout_id": 1,
        "state": "good",
        "version": "2",
        "number": 2,
        "detail": "",
        "at_ms": 1_763_676_000_123,
    },
}


def encoded(name: str, parameters: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    found = encode_operation(name, parameters, trace_id="ab" * 16, created_at_ms=1_763_676_000_123, txn_token=None)
    return found.method, found.target, json.loads(found.body)


def test_there_is_a_sample_of_every_type() -> None:
    assert set(SAMPLES) == set(TYPES)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_o1_o2_method_path_and_what_the_path_takes_out_of_the_body(name: str) -> None:
    method, target, document = encoded(name, SAMPLES[name])
    in_path = TYPES[name].in_path
    assert method == "POST"
    assert target.startswith(f"/v1/operations/{name}")
    assert target.removeprefix(f"/v1/operations/{name}").count("/") == len(in_path)
    assert not set(in_path) & set(document["payload"])
    assert len(document["payload"]) == len(SAMPLES[name]) - len(in_path)


def test_o2_a_parameter_in_the_path_is_quoted() -> None:
    assert encoded("meter_change", SAMPLES["meter_change"])[1] == "/v1/operations/meter_change/tap%201%2F2"


def test_o3_times_are_rfc_3339_on_the_wire_and_milliseconds_inside() -> None:
    _, _, document = encoded("service_visit", SAMPLES["service_visit"])
    assert document["payload"]["visited_at"] == "2025-11-20T22:00:00.123Z"
    assert document["meta"] == {"trace_id": "ab" * 16, "timestamp": "2025-11-20T22:00:00.123Z"}
    assert from_wire(document["payload"]) == SAMPLES["service_visit"]


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_o3_every_millisecond_survives_both_ways(at_ms: int) -> None:
    assert from_wire(to_wire({"seen_at_ms": at_ms})) == {"seen_at_ms": at_ms}


def test_o3_what_is_no_time_is_said_or_left_alone() -> None:
    with pytest.raises(BadOperation, match="milliseconds"):
        to_wire({"seen_at_ms": "now"})
    with pytest.raises(BadOperation, match="no time"):
        rfc3339(1 << 70)
    assert from_wire({"seen_at": "soon", "met_at": "2026-01-01T00:00:00"}) == {
        "seen_at": "soon",
        "met_at": "2026-01-01T00:00:00",
    }


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_o4_each_missing_parameter_is_named(name: str) -> None:
    for missing in TYPES[name].required:
        left = {key: value for key, value in SAMPLES[name].items() if key != missing}
        with pytest.raises(BadOperation, match=missing):
            checked(name, left)
    with pytest.raises(BadOperation) as told:
        checked(name, {})
    assert all(each in str(told.value) for each in TYPES[name].required)


def test_o5_an_unknown_type_says_which_there_are() -> None:
    with pytest.raises(BadOperation) as told:
        type_of("self_destruct")
    assert "service_visit" in told.value.hint


def test_e9_the_token_stands_in_the_envelope_where_there_is_one() -> None:
    found = encode_operation("diagnostics_bundle", {"document": {}}, trace_id="t", created_at_ms=0, txn_token="x")
    assert json.loads(found.body)["meta"]["txn_token"] == "x"


def test_the_same_operation_is_the_same_bytes_each_time() -> None:
    first, second = (
        encode_operation("service_visit", SAMPLES["service_visit"], trace_id="t", created_at_ms=1, txn_token=None)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_d5_damaged_parameters_are_told_not_guessed(text: str) -> None:
    with pytest.raises(BadOperation, match="damaged"):
        parameters_of(text)


def test_b8_b12_b13_profiles() -> None:
    assert FAST.attempts == SLOW.attempts == ATTEMPTS == 5
    assert SLOW.backoff.delay_s(1, 0.5) > FAST.backoff.delay_s(1, 0.5)
    assert type_of("diagnostics_bundle").profile is SLOW
    assert type_of("service_visit").profile is FAST
