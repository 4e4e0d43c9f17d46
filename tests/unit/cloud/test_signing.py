"""Signatures, problems and prices: the edges that the contract's vectors leave open."""

from __future__ import annotations

import pytest

from aquasmart_cloud.core.errors import CloudError, ConfigError
from aquasmart_cloud.core.model import Scale
from aquasmart_cloud.core.problems import PROBLEMS, Fault, Refusal
from aquasmart_cloud.core.signing import sign, sign_reply, signing_prefix, verify, well_formed
from tests.contract.vectors import cases

KEY = bytes(32)


def test_text_beyond_latin_1_never_verifies_and_never_fails() -> None:
    prefix = signing_prefix("1", "POST", "/水", "s", None, None, None)
    assert not verify(KEY, prefix, b"", "v1=水")
    assert verify(KEY, prefix, b"", sign(KEY, prefix, b""))


def test_an_answer_is_bound_to_status_time_request_and_body() -> None:
    base = sign_reply(KEY, 1, 200, "v1=a", b"x")
    others = {
        sign_reply(KEY, 2, 200, "v1=a", b"x"),
        sign_reply(KEY, 1, 503, "v1=a", b"x"),
        sign_reply(KEY, 1, 200, "v1=b", b"x"),
        sign_reply(KEY, 1, 200, "v1=a", b"y"),
    }
    assert len(others | {base}) == 5
    assert well_formed(base)


@pytest.mark.parametrize("case", cases("pricing"))
def test_prices_are_the_contracts(case: dict) -> None:  # type: ignore[type-arg]
    given, expected = case["input"], case["expected"]
    scale = Scale(given["ul_num"], given["den"])
    if "error" in expected:
        with pytest.raises(ValueError, match="out of range"):
            scale.volume_ul(given["from_counts"], given["to_counts"])
    else:
        assert scale.volume_ul(given["from_counts"], given["to_counts"]) == expected["volume_ul"]


def test_a_problem_document_has_the_protocols_members() -> None:
    refusal = Refusal("sequence-gap", "x", faults=[Fault("$.a", "b")], members={"expected_seq": 4})
    assert refusal.document("t", 9) == {
        "type": "urn:aquasmart:problem:sequence-gap",
        "title": PROBLEMS["sequence-gap"].title,
        "status": 409,
        "detail": "x",
        "code": "sequence-gap",
        "trace_id": "t",
        "server_time": 9,
        "errors": [{"where": "$.a", "what": "b"}],
        "expected_seq": 4,
    }


def test_errors_carry_hints_and_every_fault() -> None:
    assert CloudError("a", "do b").hint == "do b"
    error = ConfigError(["one", "two"])
    assert "one" in str(error)
    assert "two" in str(error)
