"""What the cloud's short names mean, in sentences for the fleet operator.

Only text: a new kind of difference or event is one row here. A name without a row is shown as itself, with
its hyphens opened, never hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .quantities import quantity

STATES = {
    "online": "Online",
    "late": "Late",
    "offline": "Offline",
    "never": "Never seen",
    "retired": "Retired",
}


class Words(NamedTuple):
    """How a difference is called, what it means, and what the operator should do."""

    title: str
    meaning: str
    advice: str


DIFFERENCES = {
    "hole": Words(
        "Not yet reported",
        "The meter counted this much between two stretches that the station has reported. No event covers it.",
        "Wait while the station has a backlog: the amount shrinks as events arrive. If it stays, drain the "
        "station's former card or import its exported log.",
    ),
    "unknown-before": Words(
        "Before the first reading",
        "The meter stood above zero when this station first read it, and the meter has no serial number that "
        "would tie the count to an earlier one.",
        "Nothing, for a meter that was used before. If the station had an earlier card, import its log.",
    ),
    "overlap": Words(
        "Reported twice, booked once",
        "The station reported counts that were booked already. They were not booked again.",
        "Nothing for a card that was restored or replaced. If you do not know why, look for a copied card.",
    ),
    "claim-difference": Words(
        "The station's position differs",
        "The station says that its stream stood at another count than the one this cloud has booked.",
        "Compare the meter's display with the totals below; look for a restored card or a restored database.",
    ),
    "row-difference": Words(
        "Same event, other content",
        "An event that was stored before arrived again with another content. The first one stands.",
        "Look for a copied or restored card at this station.",
    ),
    "clone-suspected": Words(
        "Two boards as one station",
        "Two different boards report under this station's name in turn: a card may have been copied.",
        "Find the second board, and revoke the key of the one that should not report.",
    ),
    "disputed": Words(
        "Counted, but implausible",
        "The meter's count jumped further than its largest flow allows. It is in the total and shown apart.",
        "Ask a technician to check the meter and its cable.",
    ),
    "unmeasured": Words(
        "Time that was not measured",
        "The meter's counter does not survive a power cut and began again from zero. What flowed between the last "
        "reading and the restart is unknown; the amount shown is the most that it can have been.",
        "Nothing for a single power cut. If it comes again, check the meter's supply.",
    ),
    "abandoned": Words(
        "Given up by a factory reset",
        "Somebody reset the station although this much had not been delivered. It is not in the total.",
        "Ask who reset it. If its card or an export of its log still exists, import it: what arrives is booked.",
    ),
    "scale-refused": Words(
        "Calibration refused",
        "A local calibration was used for a while and then refused; this is what it changed.",
        "Agree the K-factor with the technician and send it as configuration.",
    ),
}

KINDS = {
    "live": "As it flowed",
    "volume": "Volume",
    "catch_up": "Counted while the reader was away",
    "gap": "Events that could not be sent, volume exact",
    "merged": "Merged to save space, volume exact",
    "disputed": "Counted, but implausible",
    "leak": "Leak",
    "baseline": "First reading of this meter",
    "reset": "Meter restarted from zero",
    "meter_change": "Meter replaced",
    "rollover": "Counter rolled over",
    "reverse": "Water ran backwards",
    "pour": "Pour",
    "anomaly": "Something unusual",
    "diagnostic": "Diagnostics",
    "config_applied": "Configuration applied",
    "boot": "Reader started",
    "shutdown": "Reader stopped cleanly",
    "heartbeat": "No flow, meter read",
    "degraded": "Degraded",
}

METRICS = {
    "stuck": "Stuck sensor",
    "leak": "Leak found",
    "no-flow": "No flow",
    "identity": "Another meter answers",
    "flow_ul_s": "Unusual flow",
    "rtt_us": "Unusual answering time of the meter",
    "interval_ms": "Readings late or missing",
    "temperature_change_mc": "Unusual change of temperature",
    "supply_mv": "Unusual supply voltage",
}
"""What an `anomaly` event is about, by its data's metric (docs/protocol.md §3)."""
_OF_THE_METRIC = {"value", "mean", "sd"}
"""Its figures that have the metric's unit."""


def opened(name: str) -> str:
    """A short name made readable: `clone-suspected` → `Clone suspected`."""
    return name.replace("-", " ").replace("_", " ").capitalize()


def difference(kind: str) -> Words:
    """The words for one kind of difference; an unknown kind is shown by its own name."""
    return DIFFERENCES.get(kind) or Words(opened(kind), "The cloud named this difference.", "See its detail.")


def event(kind: str, data: Any = None) -> str:
    """What an event says; an anomaly by the metric in its data."""
    metric = data.get("metric") if kind == "anomaly" and isinstance(data, dict) else None
    if isinstance(metric, str):
        return METRICS.get(metric) or f"Unusual: {opened(metric).lower()}"
    return KINDS.get(kind) or opened(kind)


def details(data: Any) -> str:
    """An event's own figures on one line: `volume 1.200000 L · duration 9 s`."""
    if not isinstance(data, dict):
        return "" if data is None else str(data)
    return " · ".join(_pairs(data))


def _pairs(data: Mapping[Any, Any]) -> list[str]:
    """Each figure with its name. Left out: what says nothing (nothing known, none of them); what `event` has said."""
    metric = str(data.get("metric", ""))
    return [
        _told(str(key), value, metric if key in _OF_THE_METRIC else "")
        for key, value in data.items()
        if value not in (None, [], {}) and not (key == "metric" and metric in METRICS)
    ]


def _told(key: str, value: Any, unit_of: str) -> str:
    if isinstance(value, dict):
        return f"{_named(key)} ({', '.join(_pairs(value))})"
    if isinstance(value, list):
        said = [f"({', '.join(_pairs(each))})" if isinstance(each, dict) else str(each) for each in value]
        return f"{_named(key)} {', '.join(said)}"
    name, figure = quantity(key, value, unit_of)
    return f"{_named(name)} {figure}"


def _named(key: str) -> str:
    return opened(key).lower()


CONFIG = {
    "none": "As in its own file",
    "waiting": "waits until it is heard",
    "sent": "announced, not fetched yet",
    "received": "fetched, or on trial",
    "applied": "applied",
    "refused": "refused",
    "rolled-back": "taken back by the station",
}
"""How far a configuration has come at a station."""
