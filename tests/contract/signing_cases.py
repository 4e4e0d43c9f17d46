"""Vectors for signatures of requests and answers (docs/protocol.md §1–2)."""

from __future__ import annotations

from typing import Any

from tests.contract import reference as ref

Case = dict[str, Any]

BODY = '{"meta":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}}'


def _facts(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "key": ref.KEY.hex(),
        "timestamp": str(ref.NOW_MS),
        "method": "POST",
        "target": "/v1/ingest",
        "station": ref.STATION,
        "encoding": None,
        "idempotency_key": None,
        "if_match": None,
        "body": BODY,
    }
    return facts | changes


def _string(facts: dict[str, Any]) -> bytes:
    return ref.signing_string(
        facts["timestamp"],
        facts["method"],
        facts["target"],
        facts["station"],
        ref.body_of(facts["body"]),
        encoding=facts["encoding"],
        idempotency_key=facts["idempotency_key"],
        if_match=facts["if_match"],
    )


def _request(name: str, **changes: Any) -> Case:
    facts = _facts(**changes)
    string = _string(facts)
    head = string[: len(string) - len(ref.body_of(facts["body"]))]
    made = ref.signature(bytes.fromhex(facts["key"]), string)
    expected = {"head": head.decode(), "signature": made, "verifies": True}
    return {"name": name, "flags": ["valid", "request"], "input": facts, "expected": expected}


def _forged(name: str, signature: str | None = None, **signed: Any) -> Case:
    """A signature that must not verify: made over other facts, or damaged."""
    facts = _facts()
    other = facts | signed
    made = signature or ref.signature(bytes.fromhex(other["key"]), _string(other))
    case_input = facts | {"signature": made}
    return {
        "name": name,
        "flags": ["forged", "request"],
        "input": case_input,
        "expected": {"verifies": False},
    }


def _answer(name: str, *, sent: dict[str, Any] | None = None, **signed: Any) -> Case:
    """An answer with what was `sent`; `signed` says what was signed instead, which makes it a forgery."""
    request_signature = ref.signature(ref.KEY, _string(_facts()))
    facts = {
        "key": ref.KEY.hex(),
        "timestamp": str(ref.NOW_MS + 321),
        "status": 200,
        "request_signature": request_signature,
        "body": BODY,
    } | (sent or {})
    other = facts | signed
    string = ref.reply_string(
        other["timestamp"], other["status"], other["request_signature"], ref.body_of(other["body"])
    )
    made = ref.signature(bytes.fromhex(other["key"]), string)
    valid = not signed
    flags = ["valid" if valid else "forged", "answer"]
    return {
        "name": name,
        "flags": flags,
        "input": facts | {"signature": made},
        "expected": {"verifies": valid},
    }


def _requests() -> list[Case]:
    gzipped = {"gzip": BODY}
    key = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    return [
        _request("a plain body"),
        _request("a gzipped body is signed as sent", encoding="gzip", body=gzipped),
        _request("an empty body", method="GET", target="/v1/config", body=""),
        _request("an idempotency key", target="/v1/operations/config_applied", idempotency_key=key),
        _request("if-match", target="/v1/operations/local_change", idempotency_key=key, if_match='"7"'),
        _request("a query string as sent", method="GET", target="/v1/notices?after=12&x=%7E", body=""),
        _request("a body that is not text", body={"hex": "00ff0a3a76310d"}),
        _request("another key", key=ref.REVOKED_KEY.hex()),
        _request("the longest station name", station="a-" * 32),
        _request("text beyond ASCII", body='{"note":"Straße – 水"}'),
    ]


def _forgeries() -> list[Case]:
    good = ref.signature(ref.KEY, _string(_facts()))
    return [
        _forged("one byte of the body differs", body=BODY.replace("4736", "4737")),
        _forged("the same JSON with spaces", body=BODY.replace(":", ": ")),
        _forged("a byte more", body=BODY + "\n"),
        _forged("made with another key", key=ref.REVOKED_KEY.hex()),
        _forged("made for another path", target="/v1/heartbeat"),
        _forged("made for another query", target="/v1/ingest?x=1"),
        _forged("made for another method", method="PUT"),
        _forged("made for another station", station="demo-2"),
        _forged("made for another time", timestamp=str(ref.NOW_MS + 1)),
        _forged("made for a gzipped body", encoding="gzip"),
        _forged("made with an idempotency key", idempotency_key="7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        _forged("made with if-match", if_match='"7"'),
        _forged("upper-case digits", signature="v1=" + good[3:].upper()),
        _forged("without its scheme", signature=good[3:]),
        _forged("another scheme", signature="v2=" + good[3:]),
        _forged("an odd number of digits", signature=good[:-1]),
        _forged("a digit too many", signature=good + "0"),
        _forged("no digits", signature="v1="),
        _forged("no hex digits", signature="v1=" + "g" * 64),
        _forged("a space before", signature=" " + good),
        _forged(
            "a digest of the key's hex text",
            signature=ref.signature(ref.KEY.hex().encode(), _string(_facts())),
        ),
    ]


def _answers() -> list[Case]:
    other_request = ref.signature(ref.KEY, b"another request")
    return [
        _answer("a 200"),
        _answer("a signed problem", sent={"status": 409, "body": '{"code":"sequence-gap"}'}),
        _answer("an empty answer", sent={"body": ""}),
        _answer("an answer to another request", request_signature=other_request),
        _answer("an answer with another status", status=503),
        _answer("an answer with another body", body=BODY + " "),
        _answer("an answer of another time", timestamp=str(ref.NOW_MS)),
        _answer("an answer under another key", key=ref.REVOKED_KEY.hex()),
        _answer("the request's signature without its scheme", request_signature=other_request[3:]),
    ]


def vectors() -> dict[str, Any]:
    return {
        "description": "HMAC-SHA256 signatures of requests and answers, docs/protocol.md §1 and §2",
        "cases": _requests() + _forgeries() + _answers(),
    }
