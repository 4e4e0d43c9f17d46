"""The station against the contract vectors: it must reproduce the exact bytes (docs/protocol.md, tests/contract/v1)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aquasmart_station.core.encoding import Batch, encode_batch, header_document, header_from_document
from aquasmart_station.core.errors import CountsOutOfRange
from aquasmart_station.core.model import Kind, Row, Scale
from aquasmart_station.core.signing import Signable, reply_string, sign, verified
from tests.contract.reference import body_of

V1 = Path(__file__).parents[2] / "contract" / "v1"


def cases(name: str, *flags: str) -> list:
    document = json.loads((V1 / f"{name}.json").read_text())
    chosen = [case for case in document["cases"] if set(flags) <= set(case["flags"])]
    assert chosen, f"no {flags} cases in {name}.json"
    return [pytest.param(case["input"], case["expected"], id=case["name"]) for case in chosen]


def request_message(given: dict) -> bytes:
    signable = Signable(
        given["method"],
        given["target"],
        given["station"],
        body_of(given["body"]),
        given["encoding"],
        given["idempotency_key"],
        given["if_match"],
    )
    return signable.string(int(given["timestamp"]))


@pytest.mark.parametrize(("given", "expected"), cases("signing", "request", "valid"))
def test_requests_are_signed_as_the_vectors_say(given: dict, expected: dict) -> None:
    message = request_message(given)
    assert message.startswith(expected["head"].encode())
    assert sign(bytes.fromhex(given["key"]), message) == expected["signature"]


@pytest.mark.parametrize(("given", "expected"), cases("signing", "request", "forged"))
def test_forged_requests_do_not_verify(given: dict, expected: dict) -> None:
    assert expected["verifies"] is False
    assert not verified(bytes.fromhex(given["key"]), request_message(given), given["signature"])


@pytest.mark.parametrize(("given", "expected"), cases("signing", "answer"))
def test_answers_verify_exactly_where_the_vectors_say(given: dict, expected: dict) -> None:
    message = reply_string(given["timestamp"], given["status"], given["request_signature"], body_of(given["body"]))
    signature = given.get("signature") or expected["signature"]
    assert verified(bytes.fromhex(given["key"]), message, signature) is expected["verifies"]


@pytest.mark.parametrize(("given", "expected"), cases("encoding"))
def test_rows_are_encoded_byte_for_byte(given: dict, expected: dict) -> None:
    header = header_from_document(given["header"])
    assert header_document(header) == given["header"]
    rows = [
        Row(
            position,
            row["seq"],
            row["seqs"],
            Kind[row["kind"].upper()],
            row["flags"],
            row["at_ms"],
            row["mono_ms"],
            row["counts"],
            None if row["data"] is None else json.dumps(row["data"], ensure_ascii=False),
        )
        for position, row in enumerate(given["rows"], 1)
    ]
    batch = Batch(1, header, given["counts_before"], rows)
    body = encode_batch(
        batch,
        trace_id=given["trace_id"],
        whole_header=given["whole_header"],
        wall_shift_ms=given["wall_shift_ms"],
    )
    assert body.decode() == expected["json"]


@pytest.mark.parametrize(("given", "expected"), cases("pricing"))
def test_positions_are_priced_exactly(given: dict, expected: dict) -> None:
    if "error" in expected:
        with pytest.raises((CountsOutOfRange, ValueError)):
            Scale(given["ul_num"], given["den"]).volume_ul(given["from_counts"], given["to_counts"])
    else:
        scale = Scale(given["ul_num"], given["den"])
        assert scale.volume_ul(given["from_counts"], given["to_counts"]) == expected["volume_ul"]
