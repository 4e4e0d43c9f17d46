"""Bodies: what the contract's vectors do not say already, and what fuzzing finds."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquasmart_cloud.core.decoding import decode_batch, decode_heartbeat, inflate
from aquasmart_cloud.core.problems import PROBLEMS, Refusal
from aquasmart_cloud.core.strict_json import parse
from tests.contract.messages import batch, header

GOOD = json.dumps(batch(), separators=(",", ":")).encode()


def _code(body: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        decode_batch(body)
    return caught.value.type.code


def _outcome(decode: Callable[[bytes], object], body: bytes) -> str | None:
    """The code of the refusal, or None where there was none. Any other exception fails the test."""
    try:
        decode(body)
    except Refusal as refusal:
        return refusal.type.code
    return None


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b'"first_seq":1', b'"first_seq":1,"first_seq":1'),
        GOOD.replace(b'"clock":"ntp"', b'"clock":"ntp","clock":"ntp"'),
        GOOD.replace(b'"meta":{', b'"meta":{"trace_id":"x","trace_id":"y",'),
        GOOD.replace(b'"at_mono":', b'"x":{"a":1,"a":2},"at_mono":'),
        GOOD.replace(b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","kind":"leak"}]'),
        GOOD.replace(b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","data":{"a":1,"a":1}}]'),
        GOOD.replace(b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","data":{},"data":{}}]'),
        GOOD.replace(b'"rows":[]', b'"rows":[{"row":0,"kind":"gap","seqs":1,"seqs":2}]'),
    ],
)
def test_a_key_that_stands_twice_is_invalid(body: bytes) -> None:
    assert _code(body) == "invalid"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"at_mono":', b'"x":"\xff","at_mono":', "malformed"),
        (b'"at_mono":', b'"\xc3":1,"at_mono":', "malformed"),
        (b'"software":"0.1.0"', b'"software":"\xed\xa0\x80"', "malformed"),
        (b'"software":"0.1.0"', b'"software":"\\ud800"', "malformed"),
        (b'"software":"0.1.0"', b'"software":"a\\u0000b"', "invalid"),
        (b'"rows":[]', b'"rows":[{"row":0,"kind":"a\\nb"}]', "invalid"),
        (b'"rows":[]', b'"rows":[{"row":0,"kind":""}]', "invalid"),
        (b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","data":{"x":NaN}}]', "malformed"),
        (b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","data":{"x":"\xff"}}]', "malformed"),
        (b'"rows":[]', b'"rows":[{"row":0,"kind":"pour","data":null}]', "invalid"),
        (b'"value":null', b'"value":"a\\tb"', "invalid"),
        (b'"kind":"weak"', b'"kind":"strong"', "invalid"),
        (b'"at_mono":', b'"x":' + b"9" * 5_000 + b',"at_mono":', "invalid"),
        (b'"at":', b'"at":' + b"9" * 5_000, "invalid"),
        (b'"at_mono":', b'"x":[' + b"[]," * 250_000 + b'[]],"at_mono":', "invalid"),
        (b'"dt":[0,', b'"dt":[9223372036854775807,', "invalid"),
        (b'"opening_counts":1000000', b'"opening_counts":461168601842738790', "invalid"),
    ],
)
def test_bodies_that_are_nearly_right(old: bytes, new: bytes, code: str) -> None:
    assert old in GOOD
    assert _code(GOOD.replace(old, new)) == code


def test_a_million_rows_are_too_large_not_slow() -> None:
    many = json.dumps(batch([0] * 1_000_000)).encode()
    assert len(many) < 12 * 1024 * 1024
    assert _code(many) == "too-large"
    assert _code(many.replace(b'"first_seq": 1', b'"first_seq": -1')) == "too-large"


def test_the_header_names_every_field_that_is_missing() -> None:
    document = batch(stream={"id": header()["id"], "meter_id": "tap-1", "clock": "ntp"})
    with pytest.raises(Refusal) as caught:
        decode_batch(json.dumps(document).encode())
    assert {fault.where for fault in caught.value.faults} >= {"$.stream.epoch", "$.stream.scale", "$.stream.boot_id"}


def test_a_wrong_value_is_named_by_its_place() -> None:
    with pytest.raises(Refusal) as caught:
        decode_batch(GOOD.replace(b'"counts":[1,1,1]', b'"counts":[1,"1",1]'))
    assert [fault.where for fault in caught.value.faults] == ["$.counts[1]"]


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(64 << 20)) + packer.flush()
    tracemalloc.start()
    with pytest.raises(Refusal) as caught:
        inflate(bomb, "gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.type.code == "too-large"
    assert peak < 24 << 20


def test_inflate_is_the_inverse_of_gzip_and_leaves_plain_bodies_alone() -> None:
    assert inflate(gzip.compress(GOOD), "gzip") == GOOD
    assert inflate(GOOD, None) == GOOD


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for decode in (decode_batch, decode_heartbeat, lambda each: inflate(each, "gzip"), parse):
        assert _outcome(decode, body) in {None, *PROBLEMS}


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_batch_is_decoded_or_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    width = data.draw(st.integers(0, 3))
    body = GOOD[:place] + data.draw(st.binary(max_size=4)) + GOOD[place + width :]
    assert _outcome(decode_batch, body) in {None, "malformed", "too-large", "invalid"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_json_in_any_field_is_decoded_or_refused(value: object) -> None:
    for name in batch():
        body = json.dumps(batch() | {name: value}).encode()
        assert _outcome(decode_batch, body) in {None, "malformed", "invalid"}


def test_a_heartbeats_payload_is_kept_as_sent() -> None:
    payload = '{ "state":"running","software":"1","uptime_s":1,"clock":"ntp","pending":0,'
    payload += '"oldest_pending_s":null,"meters":[],"new":1}'
    meta = json.dumps({"trace_id": "a" * 32, "timestamp": "2025-11-20T22:00:00Z"})
    body = f'{{"meta":{meta},"payload":{payload}}}'
    assert decode_heartbeat(body.encode()).payload == payload
