"""The station against the contract: the exact bytes it signs, prices and sends."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from aquasmart_station.core.boot_clock import BootOffset
from aquasmart_station.core.encoding import Batch, compress, encode_batch, header_from_document
from aquasmart_station.core.errors import CountsOutOfRange
from aquasmart_station.core.model import Kind, Row, Scale
from aquasmart_station.core.signing import Signable, reply_string, sign, verified
from tests.contract.reference import body_of
from tests.contract.vectors import cases

Case = dict[str, Any]


def _signable(given: Case) -> Signable:
    return Signable(
        method=given["method"],
        target=given["target"],
        station_id=given["station"],
        body=body_of(given["body"]),
        encoding=given["encoding"],
        idempotency_key=given["idempotency_key"],
        if_match=given["if_match"],
    )


@pytest.mark.parametrize("case", cases("signing", "request", "valid"))
def test_a_request_is_signed_as_stated(case: Case) -> None:
    given, expected = case["input"], case["expected"]
    string = _signable(given).string(int(given["timestamp"]))
    assert string == expected["head"].encode() + body_of(given["body"])
    assert sign(bytes.fromhex(given["key"]), string) == expected["signature"]


@pytest.mark.parametrize("case", cases("signing", "request", "forged"))
def test_no_forged_request_would_verify(case: Case) -> None:
    given = case["input"]
    string = _signable(given).string(int(given["timestamp"]))
    assert not verified(bytes.fromhex(given["key"]), string, given["signature"])


@pytest.mark.parametrize("case", cases("signing", "answer"))
def test_an_answer_verifies_only_as_stated(case: Case) -> None:
    given = case["input"]
    body = body_of(given["body"])
    string = reply_string(given["timestamp"], given["status"], given["request_signature"], body)
    assert verified(bytes.fromhex(given["key"]), string, given["signature"]) is case["expected"]["verifies"]


@pytest.mark.parametrize("case", cases("pricing"))
def test_a_volume_is_priced_as_stated(case: Case) -> None:
    given, expected = case["input"], case["expected"]
    if "volume_ul" in expected:
        scale = Scale(given["ul_num"], given["den"])
        assert scale.volume_ul(given["from_counts"], given["to_counts"]) == expected["volume_ul"]
    else:
        with pytest.raises((ValueError, CountsOutOfRange)):
            Scale(given["ul_num"], given["den"]).volume_ul(given["from_counts"], given["to_counts"])


def _row(position: int, given: Case) -> Row:
    return Row(
        position=position,
        seq=given["seq"],
        seqs=given["seqs"],
        kind=Kind[given["kind"].upper()].value,
        flags=given["flags"],
        at_ms=given["at_ms"],
        mono_ms=given["mono_ms"],
        counts=given["counts"],
        data=None if given["data"] is None else json.dumps(given["data"], ensure_ascii=False),
    )


def _encode(given: Case) -> bytes:
    rows = [_row(position, row) for position, row in enumerate(given["rows"], 1)]
    header = header_from_document(given["header"])
    clock = None
    if shift_ms := given["wall_shift_ms"]:  # the boot's offset became known after the last of these rows
        clock = BootOffset(rows[0].at_ms - rows[0].mono_ms + shift_ms, "ntp", rows[-1].mono_ms + 1)
    batch = Batch(stream_no=1, header=header, counts_before=given["counts_before"], rows=rows, clock=clock)
    return encode_batch(batch, trace_id=given["trace_id"], whole_header=given["whole_header"])


@pytest.mark.parametrize("case", cases("encoding"))
def test_a_batch_is_encoded_to_the_byte(case: Case) -> None:
    assert _encode(case["input"]) == case["expected"]["json"].encode()


@pytest.mark.parametrize("case", cases("encoding"))
def test_compressed_it_unpacks_to_the_same_bytes_and_has_no_time(case: Case) -> None:
    packed = compress(_encode(case["input"]))
    assert gzip.decompress(packed) == case["expected"]["json"].encode()
    assert packed[:4] == b"\x1f\x8b\x08\x00"
    assert packed[4:8] == bytes(4)
