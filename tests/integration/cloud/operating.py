"""Operations as a station sends them, for tests of the cloud's side."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from werkzeug.test import TestResponse

from tests.integration.cloud.senders import Sender

TIMESTAMP = "2026-11-20T22:00:00.123Z"
SCALE = {"ul_num": 20000, "den": 9}
DEARER = {"ul_num": 21000, "den": 9}
KEY = ["meters", "tap-1", "scale"]
UPDATE_RESULT = {
    "rollout_id": 1, "state": "good", "version": "0.2.0", "number": 2, "detail": "", "at_ms": 1_763_676_000_123,
}  # fmt: skip


def envelope(payload: dict[str, Any], trace_id: str | None = None, **meta: Any) -> bytes:
    document = {"meta": {"trace_id": trace_id or uuid4().hex, "timestamp": TIMESTAMP} | meta, "payload": payload}
    return json.dumps(document, separators=(",", ":")).encode()


def operate(
    sender: Sender,
    name: str,
    payload: dict[str, Any],
    *,
    key: str | None = None,
    if_match: str | None = None,
    body: bytes | None = None,
    **meta: Any,
) -> TestResponse:
    """One operation, signed."""
    extra = {"Idempotency-Key": str(uuid4()) if key is None else key}
    if if_match is not None:
        extra["If-Match"] = if_match
    content = envelope(payload, **meta) if body is None else body
    return sender.request(content, target=f"/v1/operations/{name}", extra=extra)


def visit(note: str = "swapped the filter") -> dict[str, Any]:
    return {"technician": "Ada", "note": note, "visited_at": TIMESTAMP}


def local_change(value: Any = None, former: Any = None, token: str | None = None) -> dict[str, Any]:
    return {"key": KEY, "value": value or SCALE, "former": former, "change_token": token or str(uuid4())}
