"""Bad input of every sort: the problem document, the right signature on it, and no row stored."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.contract import reference as ref
from tests.contract.messages import batch, header
from tests.integration.cloud.senders import CloudUnderTest, Run, Sender

GOOD = json.dumps(batch(), separators=(",", ":")).encode()
MIB = 1 << 20


def refused(cloud: CloudUnderTest, answer: TestResponse, status: int, code: str, *, signed: bool = True) -> Any:
    """The problem document, after checking its form and that nothing was stored."""
    problem = json.loads(answer.get_data())
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.mimetype == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:aquasmart:problem:{code}"
    assert {"title", "detail", "trace_id", "server_time", "errors"} <= problem.keys()
    assert ("X-Signature" in answer.headers) is signed
    assert not any(cloud.stored().values())
    assert cloud.query("SELECT events, volume_ul, last_seen_at FROM station") == [(0, 0, None)]
    assert cloud.one("SELECT count(*) FROM processing_log") == 0
    return problem


def _with(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


BODIES = {
    "NaN": (_with(b'"at":', b'"x":NaN,"at":'), 400, "malformed"),
    "NaN as a count": (_with(b'"counts":[1,', b'"counts":[NaN,'), 400, "malformed"),
    "not JSON": (b"counts=1", 400, "malformed"),
    "empty": (b"", 400, "malformed"),
    "invalid UTF-8": (_with(b'"software":"0.1.0"', b'"software":"\xff"'), 400, "malformed"),
    "2^70 as a count": (_with(b'"counts":[1,', b'"counts":[1180591620717411303424,'), 422, "invalid"),
    "2^63 as a position": (_with(b'"counts_before":1000000', b'"counts_before":9223372036854775808'), 422, "invalid"),
    "a count below zero": (_with(b'"counts":[1,', b'"counts":[-1,'), 422, "invalid"),
    "a fraction of a count": (_with(b'"counts":[1,', b'"counts":[1.0,'), 422, "invalid"),
    "text for a count": (_with(b'"counts":[1,', b'"counts":["1",'), 422, "invalid"),
    "counts that cannot be priced": (_with(b'"counts":[1,', b'"counts":[922337203685477580,'), 422, "invalid"),
    "a key twice": (_with(b'"first_seq":1', b'"first_seq":1,"first_seq":2'), 422, "invalid"),
    "a list": (b"[]", 422, "invalid"),
    "17 levels": (_with(b'"at":', b'"x":' + b"[" * 17 + b"]" * 17 + b',"at":'), 422, "invalid"),
    "a million levels": (_with(b'"at":', b'"x":' + b"[" * MIB + b',"at":'), 422, "invalid"),
    "10,001 rows": (json.dumps(batch([0] * 10_001)).encode(), 413, "too-large"),
    "a million rows": (json.dumps(batch([0] * 1_000_000), separators=(",", ":")).encode(), 413, "too-large"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_named_and_nothing_is_stored(name: str, cloud: CloudUnderTest, sender: Sender) -> None:
    body, status, code = BODIES[name]
    refused(cloud, sender.request(body), status, code)


def test_bytes_that_are_not_gzip_though_marked_so(cloud: CloudUnderTest, sender: Sender) -> None:
    refused(cloud, sender.request(GOOD, encoding="gzip"), 400, "malformed")
    refused(cloud, sender.request(gzip.compress(GOOD)[:-4], encoding="gzip"), 400, "malformed")
    refused(cloud, sender.request(gzip.compress(GOOD) + b"x", encoding="gzip"), 400, "malformed")
    refused(cloud, sender.request(gzip.compress(GOOD)), 400, "malformed")


def test_an_unknown_encoding(cloud: CloudUnderTest, sender: Sender) -> None:
    refused(cloud, sender.request(GOOD, encoding="br"), 415, "unsupported-encoding")


def test_a_gigabyte_of_zeros_in_a_megabyte(cloud: CloudUnderTest, sender: Sender) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(16 * MIB)
    bomb = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    assert len(bomb) < 2 * MIB
    refused(cloud, sender.request(bomb, encoding="gzip"), 413, "too-large")


def test_a_body_over_8_mib_is_refused_before_it_is_verified(cloud: CloudUnderTest, sender: Sender) -> None:
    refused(cloud, sender.request(bytes(8 * MIB + 1)), 413, "too-large", signed=False)


def test_a_chunked_body_over_8_mib_too(cloud: CloudUnderTest, sender: Sender) -> None:
    def sent(size: int) -> TestResponse:
        environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}
        stream = io.BytesIO(bytes(size))
        return cloud.client.post("/v1/ingest", input_stream=stream, environ_overrides=environ)

    refused(cloud, sent(8 * MIB + 1), 413, "too-large", signed=False)
    refused(cloud, sent(8 * MIB), 401, "bad-signature", signed=False)


HEADERS = {
    "no station": {"X-Station-Id": None},
    "a station in capitals": {"X-Station-Id": "Demo-1"},
    "an unknown station": {"X-Station-Id": "demo-2"},
    "no key id": {"X-Key-Id": None},
    "an unknown key": {"X-Key-Id": "k7"},
    "no timestamp": {"X-Timestamp": None},
    "a timestamp in words": {"X-Timestamp": "now"},
    "a timestamp of another request": {"X-Timestamp": "1763676000001"},
    "no signature": {"X-Signature": None},
    "an empty signature": {"X-Signature": ""},
    "an odd number of digits": {"X-Signature": "v1=" + "0" * 63},
    "too many digits": {"X-Signature": "v1=" + "0" * 66},
    "an encoding that was not signed": {"Content-Encoding": "gzip"},
    "an idempotency key that was not signed": {"Idempotency-Key": "k"},
    "a precondition that was not signed": {"If-Match": '"1"'},
    "a path that was not signed": {":path": "/v1/heartbeat"},
    "a query that was not signed": {":path": "/v1/ingest?x"},
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header_is_the_same_unsigned_401(name: str, cloud: CloudUnderTest, sender: Sender) -> None:
    with cloud.app.test_request_context():
        good = _signed_headers(sender)
    changed = good | HEADERS[name]
    path = changed.pop(":path", None) or "/v1/ingest"
    headers = {each: value for each, value in changed.items() if value is not None}
    problem = refused(cloud, cloud.client.post(path, data=GOOD, headers=headers), 401, "bad-signature", signed=False)
    assert problem["detail"] == "station, key or signature is not right"


def test_two_of_one_header_are_refused(cloud: CloudUnderTest, sender: Sender) -> None:
    good = _signed_headers(sender)
    for name in good:
        if name != "X-Software-Version":
            headers = [*good.items(), (name, good[name])]
            answer = cloud.client.post("/v1/ingest", data=GOOD, headers=headers)
            refused(cloud, answer, 401, "bad-signature", signed=False)


def _signed_headers(sender: Sender) -> dict[str, Any]:
    timestamp = str(sender.cloud.now_ms)
    string = ref.signing_string(timestamp, "POST", "/v1/ingest", sender.station_id, GOOD)
    return {
        "X-Station-Id": sender.station_id,
        "X-Key-Id": sender.key_id,
        "X-Timestamp": timestamp,
        "X-Signature": ref.signature(sender.key, string),
        "X-Software-Version": "0.1.0",
    }


def test_a_captured_request_is_refused_after_the_window(cloud: CloudUnderTest, sender: Sender) -> None:
    headers = _signed_headers(sender)
    cloud.now_ms += 300_001
    refused(cloud, cloud.client.post("/v1/ingest", data=GOOD, headers=headers), 401, "clock-skew")
    cloud.now_ms -= 1
    assert cloud.client.post("/v1/ingest", data=GOOD, headers=headers).status_code == 200


def test_a_revoked_key_is_told_so_at_once_and_signed(cloud: CloudUnderTest, sender: Sender) -> None:
    # Through another connection, as the command does while the server runs.
    cloud.stations.revoke("demo-1", None, cloud.now_ms)
    refused(cloud, sender.request(GOOD), 403, "revoked")


def test_a_retired_station_is_told_so_and_signed(cloud: CloudUnderTest, sender: Sender) -> None:
    cloud.stations.retire("demo-1")
    refused(cloud, sender.request(GOOD), 410, "retired")


def test_a_second_key_works_beside_the_first(cloud: CloudUnderTest, sender: Sender) -> None:
    new = cloud.stations.rotate_key("demo-1", cloud.now_ms)
    second = Sender(cloud, "demo-1", new.key_id, bytes.fromhex(new.key))
    run = Run(1_000_000)
    sender.take(run.batch([1]))
    second.take(run.batch([1]))
    cloud.stations.revoke("demo-1", "k1", cloud.now_ms)
    assert sender.send(run.batch([1])).status_code == 403
    run.seq, run.position = 3, 1_000_002
    second.take(run.batch([1]))


def test_an_unknown_stream_and_a_gap(cloud: CloudUnderTest, sender: Sender) -> None:
    refused(cloud, sender.send(batch(stream={"id": header()["id"]})), 409, "stream-unknown")
    problem = refused(cloud, sender.send(batch(first_seq=7)), 409, "sequence-gap")
    assert (problem["expected_seq"], problem["counts_through"]) == (1, 1_000_000)


def test_a_known_stream_beyond_its_price(cloud: CloudUnderTest, sender: Sender) -> None:
    sender.take(batch())
    before = cloud.stored()
    later = batch([1], stream={"id": header()["id"]}, first_seq=4, counts_before=1 << 62)
    assert sender.send(later).status_code == 422
    assert cloud.stored() == before


def test_the_trace_id_is_the_requests(cloud: CloudUnderTest, sender: Sender) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = sender.request(b"{", extra={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert refused(cloud, answer, 400, "malformed")["trace_id"] == trace
    problem = refused(cloud, sender.send(batch(first_seq=7, meta={"trace_id": "c" * 32})), 409, "sequence-gap")
    assert problem["trace_id"] == "c" * 32


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"meta":{},"payload":{}}', b'{"meta":1,"meta":2}'])
def test_a_bad_heartbeat_stores_nothing(body: bytes, cloud: CloudUnderTest, sender: Sender) -> None:
    answer = sender.request(body, target="/v1/heartbeat")
    refused(cloud, answer, answer.status_code, "malformed" if body == b"{" else "invalid")
