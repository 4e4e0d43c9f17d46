"""Failed events as people and clients see them. Documents and pages only; changing them is `web.failed_api`."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.store import failures
from aquasmart_cloud.store.failures import Failed, parse_failed_id
from aquasmart_cloud.store.foreign_queries import Wanted

from . import asked
from .answers import json_answer
from .services import cloud


def failed_document(failure: Failed) -> dict[str, Any]:
    """One failed event; `original` is what came and `edited` what somebody made of it, numbers as they stood."""
    edited = None if failure.edited is None else msgspec.Raw(failure.edited.encode())
    return {
        "event_id": failure.failed_id,
        "client_id": failure.client_id,
        "status": "failed",
        "state": failure.state,
        "code": failure.code,
        "errors": failure.errors,
        "warnings": failure.warnings,
        "original": msgspec.Raw(failure.raw.encode()),
        "edited": edited,
        "normaliser": failure.normaliser,
        "received_at": failure.received_at,
        "closed_at": failure.closed_at,
        "closed_by": failure.closed_by,
        "reason": failure.reason,
        "event_seq": failure.event_seq,
    }


def failed_page(wanted: Wanted, limit: int, state: str) -> Response:
    """A page of failed events, sender by sender in order of arrival; `from` and `to` are of their arrival."""
    if wanted.metric is not None or wanted.station is not None:
        raise asked.wrong("metric", "failed events have no metric and no station yet; filter by client and time")
    cursor = asked.text("after")
    after = ("", 0) if cursor is None else parse_failed_id(cursor)
    if after is None:
        raise asked.wrong("after", "this is no cursor; use the 'next' of the page before")
    span_ms = (wanted.from_ms, wanted.to_ms)
    found = failures.pages(cloud().database, wanted.client_id or "", after, span_ms, state, limit)
    following = found[-1].failed_id if len(found) == limit else None
    return json_answer({"events": [failed_document(each) for each in found], "next": following})


def place_of(text: str, own: str | None) -> tuple[str, int]:
    """A failed event's place by its id. Errors: Refusal not-found, also for another client's."""
    place = parse_failed_id(text)
    if place is None or own not in (None, place[0]):
        raise Refusal("not-found", f"there is no failed event {text[:100]}")
    return place
