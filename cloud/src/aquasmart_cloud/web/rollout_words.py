"""Roll-outs in words, for pages: what a state means, and what a row shows. No view, no SQL."""

from __future__ import annotations

from typing import Any

from aquasmart_cloud.core import rollouts as rules

STATES = {
    rules.RUNNING: "Under way",
    rules.STOPPED: "Stopped",
    rules.FINISHED: "Finished",
}
RESULTS = {
    "": "Not begun",
    rules.DOWNLOADING: "Downloading",
    rules.DOWNLOADED: "Downloaded",
    rules.WAITING: "Waits for its window",
    rules.INSTALLING: "Installing",
    rules.INSTALLED: "Installed, on trial",
    rules.GOOD: "Good",
    rules.FELL_BACK: "Fell back",
    rules.REFUSED: "Refused",
    rules.FAILED: "Failed",
}
MARKS = dict.fromkeys(rules.BAD, "bad") | {rules.GOOD: "processed", rules.STOPPED: "open", rules.FINISHED: "processed"}


def row(rollout: dict[str, Any]) -> dict[str, Any]:
    """A roll-out with its words."""
    state = rollout["state"]
    by_itself = state == rules.STOPPED and rollout["changed_by"] == rules.ITSELF
    stage = "canaries first" if rollout["stage"] == rules.CANARIES else "everybody"
    return rollout | {
        "state_label": "Stopped by itself" if by_itself else STATES[state],
        "mark": "bad" if by_itself else MARKS.get(state, ""),
        "group_label": rollout["group"] or "every station",
        "stage_label": stage,
        "window_label": f"{rollout['window']['from']} to {rollout['window']['to']}",
        "bundle_label": f"{rollout['bundle']['version']} (number {rollout['bundle']['number']})",
    }


def station(found: dict[str, Any]) -> dict[str, Any]:
    """A station of a roll-out with its words; `offered`: it has been told."""
    label = RESULTS[found["state"]]
    if not found["state"] and found["offered_at"] is not None:
        label = "Offered"
    return found | {"state_label": label, "mark": MARKS.get(found["state"], "")}


def mebibytes(size_bytes: int) -> str:
    """A size for people: one decimal, cut."""
    tenths = size_bytes * 10 >> 20
    tenth = f".{tenths % 10}" if tenths % 10 else ""
    return f"{tenths // 10:,}{tenth} MiB"
