"""Vectors for the cloud's verdict on one whole request (docs/protocol.md §1, §4, §7): who signed it, and when."""

from __future__ import annotations

from typing import Any

from tests.contract import reference as ref
from tests.contract.body_cases import bodies
from tests.contract.messages import TRACE, batch, packed, request

Case = dict[str, Any]

GOOD = batch()
OTHER_SIGNATURE = ref.signature(ref.KEY, b"something else")


def accepted(name: str, made: dict[str, Any], **data: Any) -> Case:
    """A request the cloud must take; `data` is what its answer must say, among other things."""
    expected = {"status": 200, "signed": True, "data": data}
    return {"name": name, "flags": ["valid"], "input": made, "expected": expected}


def refused(name: str, made: dict[str, Any], status: int, code: str, *, signed: bool = True) -> Case:
    """A request the cloud must refuse, storing nothing."""
    expected = {"status": status, "code": code, "signed": signed}
    return {"name": name, "flags": ["refused"], "input": made, "expected": expected}


def _unsigned(name: str, made: dict[str, Any]) -> Case:
    return refused(name, made, 401, "bad-signature", signed=False)


def _missing_and_malformed() -> list[Case]:
    names = ("X-Station-Id", "X-Key-Id", "X-Timestamp", "X-Signature")
    cases = [_unsigned(f"no {name}", request(GOOD, change={name: None})) for name in names]
    cases += [_unsigned(f"an empty {name}", request(GOOD, change={name: ""})) for name in names]
    doubles = [
        ("X-Station-Id", ref.STATION),
        ("X-Key-Id", ref.KEY_ID),
        ("X-Timestamp", str(ref.NOW_MS)),
        ("X-Signature", OTHER_SIGNATURE),
    ]
    cases += [_unsigned(f"two {name}", request(GOOD, add=[[name, value]])) for name, value in doubles]
    stations = {"upper case": "Demo-1", "65 characters": "a" * 65, "a colon": "demo:1", "a dot": "demo.1"}
    cases += [_unsigned(f"a station with {what}", request(GOOD, station=name)) for what, name in stations.items()]
    times = {
        "signed +": f"+{ref.NOW_MS}",
        "below zero": "-1",
        "with a fraction": f"{ref.NOW_MS}.0",
        "with a leading zero": f"0{ref.NOW_MS}",
        "with an exponent": "1e12",
        "with an underscore": "1763_676000000",
        "of 16 digits": "1" * 16,
        "in words": "now",
    }
    return cases + [_unsigned(f"a timestamp {what}", request(GOOD, timestamp=text)) for what, text in times.items()]


def _bad_signatures() -> list[Case]:
    good = dict(request(GOOD)["headers"])["X-Signature"]
    forms = {
        "upper-case digits": "v1=" + good[3:].upper(),
        "no scheme": good[3:],
        "scheme v2": "v2=" + good[3:],
        "scheme V1": "V1=" + good[3:],
        "an odd number of digits": good[:-1],
        "62 digits": good[:-2],
        "65 digits": good + "0",
        "no digits": "v1=",
        "no hex digits": "v1=" + "zz" * 32,
        "base64": "v1=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "two in one header": good + ", " + good,
        "a space inside": good[:10] + " " + good[10:],
        "the last digit changed": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "all zeros": "v1=" + "0" * 64,
        "another message's": OTHER_SIGNATURE,
    }
    return [
        _unsigned(f"a signature: {what}", request(GOOD, change={"X-Signature": text})) for what, text in forms.items()
    ]


def _altered() -> list[Case]:
    text = ref.canonical(GOOD)
    idempotency = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    cases = [
        (
            "a digit of the body",
            request(text.replace('"first_seq":1', '"first_seq":2'), signed={"body": text.encode()}),
        ),
        ("the same JSON pretty-printed", request(text.replace(",", ", "), signed={"body": text.encode()})),
        ("a newline after the body", request(text + "\n", signed={"body": text.encode()})),
        ("the path", request(GOOD, signed={"target": "/v1/heartbeat"})),
        ("a query string added", request(GOOD, target="/v1/ingest?again=1", signed={"target": "/v1/ingest"})),
        ("the method", request(GOOD, signed={"method": "PUT"})),
        ("the station", request(GOOD, signed={"station": "demo-2"})),
        ("the timestamp", request(GOOD, signed={"timestamp": str(ref.NOW_MS - 1)})),
        ("the encoding", request(packed(GOOD), encoding="gzip", signed={"encoding": None})),
        (
            "unpacked on the way",
            request(GOOD, signed={"encoding": "gzip", "body": ref.body_of(packed(GOOD))}),
        ),
        ("an idempotency key added", request(GOOD, add=[["Idempotency-Key", idempotency]])),
        ("an idempotency key taken away", request(GOOD, signed={"idempotency_key": idempotency})),
        ("if-match added", request(GOOD, add=[["If-Match", '"7"']])),
    ]
    return [_unsigned(f"altered: {what}", made) for what, made in cases]


def _keys() -> list[Case]:
    revoked = request(GOOD, key_id=ref.REVOKED_KEY_ID, key=ref.REVOKED_KEY)
    retired = request(GOOD, station=ref.RETIRED_STATION, key=ref.RETIRED_KEY)
    return [
        _unsigned("an unknown station", request(GOOD, station="demo-404")),
        _unsigned("an unknown key", request(GOOD, key_id="k9")),
        _unsigned("the wrong key", request(GOOD, key=ref.RETIRED_KEY)),
        _unsigned("a revoked key's id, another key", request(GOOD, key_id=ref.REVOKED_KEY_ID)),
        _unsigned("another station's key", request(GOOD, station=ref.RETIRED_STATION)),
        _unsigned("the key's hex text as the key", request(GOOD, key=ref.KEY.hex().encode())),
        refused("a revoked key", revoked, 403, "revoked"),
        refused("a retired station", retired, 410, "retired"),
    ]


def _times() -> list[Case]:
    def at(offset_ms: int) -> dict[str, Any]:
        return request(GOOD, timestamp=str(ref.NOW_MS + offset_ms))

    late = {"five minutes and a millisecond slow": -ref.WINDOW_MS - 1, "a day slow": -86_400_000}
    early = {"five minutes and a millisecond fast": ref.WINDOW_MS + 1, "a day fast": 86_400_000}
    skewed = [refused(f"a clock {what}", at(offset), 401, "clock-skew") for what, offset in (late | early).items()]
    seconds = request(GOOD, timestamp=str(ref.NOW_MS // 1000))
    return [
        accepted("a clock exactly five minutes slow", at(-ref.WINDOW_MS), inserted=3),
        accepted("a clock exactly five minutes fast", at(ref.WINDOW_MS), inserted=3),
        *skewed,
        refused("seconds instead of milliseconds", seconds, 401, "clock-skew"),
        refused("a clock at 1970", request(GOOD, timestamp="1"), 401, "clock-skew"),
    ]


def _heartbeats() -> list[Case]:
    payload = {
        "state": "running",
        "software": "0.1.0",
        "uptime_s": 3600,
        "clock": "ntp",
        "pending": 12,
        "oldest_pending_s": 3,
        "meters": [{"meter_id": "tap-1", "state": "ok", "counts": 1_000_003}],
        "config": {
            "version": 0,
            "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        },
        "keys": ["k1"],
    }
    meta = {"trace_id": TRACE, "timestamp": "2025-11-20T22:00:00.000Z"}

    def beat(document: Any) -> dict[str, Any]:
        return request(ref.canonical(document), target="/v1/heartbeat")

    no_time = {"trace_id": TRACE}
    bad_time = meta | {"timestamp": "yesterday"}
    return [
        accepted("a heartbeat", beat({"meta": meta, "payload": payload}), notice=0, resend_from=[]),
        refused("a heartbeat without meta", beat({"payload": payload}), 422, "invalid"),
        refused("a heartbeat without timestamp", beat({"meta": no_time, "payload": payload}), 422, "invalid"),
        refused("a heartbeat at no time", beat({"meta": bad_time, "payload": payload}), 422, "invalid"),
        refused("a heartbeat without payload", beat({"meta": meta}), 422, "invalid"),
        refused("a heartbeat that is no JSON", request("{", target="/v1/heartbeat"), 400, "malformed"),
    ]


def vectors() -> dict[str, Any]:
    cases = _missing_and_malformed() + _bad_signatures() + _altered() + _keys() + _times() + _heartbeats()
    return {
        "description": "The cloud's verdict on one request to a fresh cloud, docs/protocol.md §1, §4 and §7",
        "cases": cases + bodies(accepted, refused),
    }
