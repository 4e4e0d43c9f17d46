"""Failed events in words for people: what is wrong, what was done, by whom. Pure: documents in, documents out."""

from __future__ import annotations

from typing import Any

import msgspec

from aquasmart_cloud.core.normalising.incoming import ID_CONFLICT, INVALID, NOT_NORMALISED
from aquasmart_cloud.store.failures import Failed

STATES = {"open": "Open", "processed": "Processed", "dismissed": "Dismissed", "all": "All"}
_CODES = {
    INVALID: "Cannot be read",
    ID_CONFLICT: "Its id is another event's",
    NOT_NORMALISED: "Kept for a later version",
}
_ADVICE = {
    INVALID: "Correct it here, or let its sender send it right: the failure then ends by itself.",
    ID_CONFLICT: "The first event under this id stays. Give this one another id if it is an event of its own.",
    NOT_NORMALISED: "This version could not read it by a mistake of its own. A later one tries again by itself.",
}
_ACTIONS = {
    "foreign-events": "Received and kept as failed",
    "failed-event-edited": "Edited and tried again",
    "failed-event-reprocessed": "Tried again",
    "failed-event-dismissed": "Dismissed",
}
_BECAME = {"processed": "it became an event", "duplicate": "it is an event that is known", "failed": "it failed again"}


def row(failure: Failed) -> dict[str, Any]:
    """One line of the list."""
    said = [f"{each['where']}: {each['what']}" for each in failure.errors]
    more = f", and {len(said) - 1} more" if len(said) > 1 else ""
    return {
        "failed_id": failure.failed_id,
        "client_id": failure.client_id,
        "received_at": failure.received_at,
        "state": failure.state,
        "state_label": STATES[failure.state],
        "code_label": _CODES.get(failure.code, failure.code),
        "why": f"{said[0] if said else ''}{more}",
    }


def one(failure: Failed) -> dict[str, Any]:
    """All that is known of one; texts are JSON in lines, numbers as they stood."""
    return row(failure) | {
        "open": failure.state == "open",
        "errors": failure.errors,
        "warnings": failure.warnings,
        "advice": _ADVICE.get(failure.code, ""),
        "original": pretty(failure.raw),
        "edited": None if failure.edited is None else pretty(failure.edited),
        "closed_at": failure.closed_at,
        "closed_by": failure.closed_by,
        "reason": failure.reason,
        "event_seq": failure.event_seq,
        "normaliser": failure.normaliser,
    }


def step(entry: dict[str, Any]) -> dict[str, Any]:
    """One entry of the audit trail."""
    detail = entry["detail"]
    parts = [_BECAME.get(detail.get("became", ""), ""), f"“{detail['reason']}”" if "reason" in detail else ""]
    return {
        "at": entry["at"],
        "what": _ACTIONS.get(entry["action"], entry["action"]),
        "said": "; ".join(part for part in parts if part),
        "by": detail.get("by", ""),
    }


def pretty(text: str) -> str:
    """JSON with a line for each member; no number is read on the way."""
    return msgspec.json.format(text.encode(), indent=2).decode()
