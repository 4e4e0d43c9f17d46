"""Every kind of answer and what it may do: signed as in docs/protocol.md §6, unsigned only slower or smaller."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquasmart_station.core.outcome import (
    Answer,
    Conflict,
    Delivered,
    HeaderWanted,
    Hold,
    KeyRefused,
    LaneName,
    NoAnswer,
    Outcome,
    PlainWanted,
    Refused,
    Retry,
    Rewind,
    Skewed,
    TooLarge,
    Unverified,
    outcome_of,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def outcome(
    status: int,
    document: Any = None,
    *,
    signed: bool = True,
    headers: dict[str, str] | None = None,
    lane: LaneName = "telemetry",
) -> Outcome:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = Answer(status, headers or {}, body)
    return outcome_of(answer, signed=signed, trace_id=TRACE, now_wall_s=1_763_676_000.0, lane=lane)


def problem(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "title": code, "detail": f"about {code}", **more}


def test_a_signed_acknowledgement_with_our_trace_id_delivers() -> None:
    answer = outcome(200, {"meta": {"trace_id": TRACE}, "data": {"acked_through": 3}})
    assert answer == Delivered({"acked_through": 3})


@pytest.mark.parametrize(
    "document",
    [
        {"meta": {"trace_id": "0" * 32}, "data": {"acked_through": 3}},
        {"meta": {"trace_id": TRACE}},
        {"meta": {"trace_id": TRACE}, "data": [1]},
        {"data": {"acked_through": 3}},
        {"meta": 1, "data": {}},
        [],
        b"not json",
        b"",
    ],
)
def test_a_signed_200_that_does_not_fit_is_tried_again(document: Any) -> None:
    assert isinstance(outcome(200, document), Retry)


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (401, problem("clock-skew", server_time=1_763_676_000_123), Skewed(1_763_676_000_123)),
        (409, problem("sequence-gap", expected_seq=5, counts_through=77), Rewind(5, 77)),
        (409, problem("stream-unknown"), HeaderWanted()),
        (413, problem("too-large"), TooLarge("about too-large")),
        (413, {}, TooLarge("")),
        (415, problem("unsupported-encoding"), PlainWanted()),
        (400, problem("malformed"), Refused("malformed", "about malformed")),
        (422, problem("invalid"), Refused("invalid", "about invalid")),
        (403, problem("revoked"), KeyRefused("revoked", "about revoked")),
        (410, problem("retired"), KeyRefused("retired", "about retired")),
        (426, problem("upgrade-required"), Hold("upgrade-required", "about upgrade-required")),
        (404, problem("not-found"), Hold("not-found", "about not-found")),
        # What only operations know, and what nobody knows, is no ground for a dead letter.
        (409, problem("config-conflict"), Hold("config-conflict", "about config-conflict")),
        (422, problem("idempotency-key-reused"), Hold("idempotency-key-reused", "about idempotency-key-reused")),
        (400, {}, Hold("400", "")),
        (418, {}, Hold("418", "")),
        (403, problem("forbidden"), Hold("forbidden", "about forbidden")),
    ],
)
def test_signed_problems_of_telemetry(status: int, document: Any, expected: Outcome) -> None:
    assert outcome(status, document) == expected


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (401, problem("clock-skew", server_time=1_763_676_000_123), Skewed(1_763_676_000_123)),
        (415, problem("unsupported-encoding"), PlainWanted()),
        (413, problem("too-large"), TooLarge("about too-large")),
        (400, problem("malformed"), Refused("malformed", "about malformed")),
        (422, problem("invalid"), Refused("invalid", "about invalid")),
        (422, problem("idempotency-key-reused"), Refused("idempotency-key-reused", "about idempotency-key-reused")),
        (404, problem("not-found"), Refused("not-found", "about not-found")),
        (403, problem("forbidden"), Refused("forbidden", "about forbidden")),
        (405, problem("method-not-allowed"), Refused("method-not-allowed", "about method-not-allowed")),
        (418, {}, Refused("418", "")),
        (403, problem("revoked"), KeyRefused("revoked", "about revoked")),
        (410, problem("retired"), KeyRefused("retired", "about retired")),
        (426, problem("upgrade-required"), Hold("upgrade-required", "about upgrade-required")),
        (401, problem("bad-signature"), Hold("bad-signature", "about bad-signature")),
        (
            409,
            problem("operation-in-progress"),
            Retry("the cloud is still working on it", 2.0, verified=True, code="operation-in-progress"),
        ),
        (
            409,
            problem("sequence-gap", expected_seq=5, counts_through=77),
            Retry("the cloud says 409 sequence-gap", verified=True, code="sequence-gap"),
        ),
    ],
)
def test_signed_problems_of_operations(status: int, document: Any, expected: Outcome) -> None:
    assert outcome(status, document, lane="operation") == expected


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_carries_the_whole_document(status: int) -> None:
    document = problem("config-conflict", current={"version": 7}, changed_by="ops")
    assert outcome(status, document, lane="operation") == Conflict(document)


def test_a_refusal_says_where_the_faults_are() -> None:
    faults = [{"where": "$.stream.scale", "what": "is 0"}, {"what": "no place"}, "no object"]
    assert outcome(422, problem("invalid", errors=faults)) == Refused("invalid", "about invalid", ("$.stream.scale",))
    assert outcome(422, problem("invalid", errors="many")) == Refused("invalid", "about invalid")


def test_a_refused_key_comes_to_a_hold() -> None:
    assert KeyRefused("revoked", "about it").hold() == Hold("revoked", "about it")


@pytest.mark.parametrize("status", [301, 408, 429, 500, 502, 503, 504, 507, 599])
@pytest.mark.parametrize("lane", ["telemetry", "operation"])
def test_signed_transient_problems_are_tried_again(status: int, lane: LaneName) -> None:
    expected = Retry(f"the cloud says {status} unavailable", verified=True, code="unavailable")
    assert outcome(status, problem("unavailable"), lane=lane) == expected


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (401, problem("clock-skew")),
        (401, problem("clock-skew", server_time="soon")),
        (401, problem("clock-skew", server_time=True)),
        (409, problem("sequence-gap")),
        (409, problem("sequence-gap", expected_seq=0, counts_through=1)),
        (409, problem("sequence-gap", expected_seq=1, counts_through=-1)),
        (409, problem("sequence-gap", expected_seq=1.0, counts_through=1)),
    ],
)
def test_signed_problems_without_their_figures_change_nothing(status: int, document: Any) -> None:
    assert isinstance(outcome(status, document), Retry)


@pytest.mark.parametrize(
    ("text", "signed", "expected"),
    [
        ("120", True, 120.0),
        ("999999", True, 3600.0),
        ("120", False, 120.0),
        ("999999", False, 300.0),
        ("Thu, 20 Nov 2025 22:01:00 GMT", True, 60.0),
        ("Thu, 20 Nov 2025 21:00:00 GMT", True, 0.0),
        ("soon", True, None),
        ("", True, None),
        ("-5", True, None),
        ("1" * 400, True, 3600.0),
        ("Thu, 20 Nov 2025 22:01:00 -0000", True, 60.0),
        ("Thu, 20 Nov 2099 22:01:00 GMT", True, 3600.0),
        ("Thu, 20 Nov 2099 22:01:00 GMT", False, 300.0),
        ("²", True, None),
        ("Thu, 99 Nov 2025 22:01:00 GMT", True, None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(text: str, signed: bool, expected: float | None) -> None:
    answer = outcome(503, {}, signed=signed, headers={"retry-after": text})
    assert isinstance(answer, Retry)
    assert answer.after_s == expected


@pytest.mark.parametrize("status", [401, 403, 404, 410, 426, 200, 204, 301, 302, 307])
def test_unsigned_refusals_and_portals_are_only_shown(status: int) -> None:
    answer = outcome(status, problem("revoked"), signed=False)
    assert isinstance(answer, Unverified)
    assert answer.status == status
    assert answer.other_key == (status >= 400)


def test_an_unsigned_413_only_makes_batches_smaller() -> None:
    answer = outcome(413, b"<html>", signed=False)
    assert isinstance(answer, Retry)
    assert answer.smaller


@given(
    st.integers(100, 599), st.binary(max_size=300), st.dictionaries(st.sampled_from(["retry-after", "x"]), st.text())
)
def test_no_unsigned_answer_ever_moves_anything(status: int, body: bytes, headers: dict[str, str]) -> None:
    answer = outcome_of(Answer(status, headers, body), signed=False, trace_id=TRACE, now_wall_s=0.0)
    assert isinstance(answer, Retry | Unverified)
    if isinstance(answer, Retry):
        assert not answer.verified
        assert answer.after_s is None or 0 <= answer.after_s <= 300


@given(st.integers(100, 599), st.binary(max_size=300), st.sampled_from(["telemetry", "operation"]))
def test_no_signed_body_crashes_it(status: int, body: bytes, lane: LaneName) -> None:
    outcome_of(Answer(status, {}, body), signed=True, trace_id=TRACE, now_wall_s=0.0, lane=lane)


def test_deep_json_is_no_answer_but_no_crash() -> None:
    assert isinstance(outcome(200, b"[" * 100_000), Retry)


def test_no_answer_is_tried_again_and_a_timeout_makes_batches_smaller() -> None:
    refused = outcome_of(NoAnswer("connection refused"), signed=False, trace_id=TRACE, now_wall_s=0.0)
    late = outcome_of(NoAnswer("no answer in time", timed_out=True), signed=False, trace_id=TRACE, now_wall_s=0.0)
    lost = outcome_of(NoAnswer("connection reset", broke_off=True), signed=False, trace_id=TRACE, now_wall_s=0.0)
    assert refused == Retry("connection refused")
    assert lost == Retry("connection reset", broke_off=True)
    assert late == Retry("no answer in time", timed_out=True)
