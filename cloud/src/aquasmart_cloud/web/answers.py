"""Answers: JSON documents, problem documents, and the trace id by which an operator finds one in the log.

Every error of the application becomes a problem document here, without a word of what went wrong inside;
that goes to the log beside the trace id. No route lives here.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from aquasmart_cloud.core.errors import CloudError
from aquasmart_cloud.core.problems import Refusal

from .services import cloud

log = logging.getLogger("aquasmart.cloud")

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_RETRY_AFTER_S = 2
_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}


def now_ms() -> int:
    """Unix milliseconds, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A fresh request or trace id: 32 lower-case hex digits."""
    return secrets.token_hex(16)


def trace_id() -> str:
    """The trace id of this request: the body's once decoded, else that of `traceparent`, else a fresh one."""
    found: str | None = g.get("trace_id")
    if found is None:
        match = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
        found = match.group(1) if match else new_id()
        g.trace_id = found
    return found


def json_answer(document: Any, status: int = 200) -> Response:
    """A JSON document as an answer."""
    return Response(msgspec.json.encode(document), status, mimetype="application/json")


def problem(refusal: Refusal) -> Response:
    """A refusal as `application/problem+json`; logged with its trace id, never with a body or a secret."""
    document = refusal.document(trace_id(), cloud().clock_ms())
    log.info("%s %s: %s %s trace=%s", request.method, request.path, refusal.status, refusal.type.code, trace_id())
    answer = Response(msgspec.json.encode(document), refusal.status, mimetype="application/problem+json")
    if refusal.retry_after_s is not None:
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


def _on_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code = _CODES.get(status, "internal" if status >= 500 else "http")
    answer = problem(Refusal(code, error.description or error.name, status=status))
    for name, value in error.get_headers():
        if name.lower() in {"allow", "location", "retry-after"}:
            answer.headers[name] = value
    return answer


def _on_package_error(error: CloudError) -> Response:
    """The database or a key store failed: the sender waits and repeats; the reason stays in the log."""
    log.error("%s (%s) trace=%s", error, error.hint, trace_id())
    return problem(Refusal("unavailable", "nothing was stored; repeat the request", retry_after_s=_RETRY_AFTER_S))


def _on_any_error(error: Exception) -> Response:
    log.error("unexpected error trace=%s", trace_id(), exc_info=error)
    return problem(Refusal("internal", "the cause is in the log under this trace id"))


def install(app: Flask) -> None:
    """Make every error of `app` a problem document."""
    app.register_error_handler(Refusal, problem)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(CloudError, _on_package_error)
    app.register_error_handler(Exception, _on_any_error)
