"""Signed requests, answers bound to them, and the cloud's clock."""

from __future__ import annotations

from aquasmart_station.core.conversation import (
    CloudClock,
    Identity,
    SignedRequest,
    answered_at_ms,
    is_signed,
    signed_request,
)
from aquasmart_station.core.outcome import Answer, NoAnswer
from aquasmart_station.core.signing import reply_string, sign

KEY = bytes(range(32))
WHO = Identity("demo-1", "k1", "0.1.0", KEY)


def answer_to(request: SignedRequest, *, status: int = 200, body: bytes = b"{}", key: bytes = KEY) -> Answer:
    signature = sign(key, reply_string("1763676000321", status, request.signature, body))
    return Answer(status, {"x-timestamp": "1763676000321", "x-signature": signature}, body)


def test_a_request_carries_what_the_cloud_needs() -> None:
    request = signed_request(WHO, "/v1/ingest", b"body", 1_763_676_000_000, encoding="gzip")
    assert request.headers["X-Station-Id"] == "demo-1"
    assert request.headers["X-Key-Id"] == "k1"
    assert request.headers["X-Timestamp"] == "1763676000000"
    assert request.headers["X-Software-Version"] == "0.1.0"
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["X-Signature"] == request.signature
    assert "Content-Encoding" not in signed_request(WHO, "/", b"", 1).headers


def test_the_key_is_not_shown() -> None:
    assert KEY.hex() not in repr(WHO)
    assert repr(KEY) not in repr(WHO)


def test_only_an_answer_to_this_very_request_is_signed() -> None:
    request = signed_request(WHO, "/v1/ingest", b"body", 1)
    other = signed_request(WHO, "/v1/ingest", b"body", 2)
    good = answer_to(request)
    assert is_signed(WHO, request, good)
    assert answered_at_ms(good) == 1_763_676_000_321
    assert not is_signed(WHO, other, good)
    assert not is_signed(WHO, request, Answer(201, good.headers, good.body))
    assert not is_signed(WHO, request, Answer(200, good.headers, b"{ }"))
    assert not is_signed(WHO, request, answer_to(request, key=bytes(32)))
    assert not is_signed(WHO, request, Answer(200, {}, b"{}"))
    assert not is_signed(WHO, request, Answer(200, {**good.headers, "x-timestamp": "soon"}, b"{}"))
    assert not is_signed(WHO, request, NoAnswer("gone"))


def test_the_cloud_clock_follows_the_monotonic_clock_once_it_was_taught() -> None:
    clock = CloudClock()
    assert clock.now_ms(mono_ms=5_000, wall_ms=77) == 77
    clock.learn(1_763_676_000_000, mono_ms=5_000)
    # An NTP step of the wall clock costs nothing: only monotonic time counts.
    assert clock.now_ms(mono_ms=6_500, wall_ms=999_999_999) == 1_763_676_001_500
