"""The documents that people's pages and `/api/…` show: the store's figures with words beside them.

Pure: a document in, the same document with labels out. Both the server's first page and every live update
come from here, so that they say the same.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import msgspec

from aquasmart_cloud.core.alert_kinds import CLOUD, URGENT
from aquasmart_cloud.store.alerts import OPEN

from . import figures, words

Document = dict[str, Any]

SHOWN_ALERTS = 12

CLOCKS = {
    "ntp": "set by the network",
    "rtc": "kept by its battery clock",
    "restored": "restored, not yet confirmed",
    "unset": "not set",
}


def books_label(open_differences: int) -> str:
    """Whether the books balance, in words."""
    if not open_differences:
        return "In balance"
    return "1 difference" if open_differences == 1 else f"{open_differences:,} differences"


def fleet(document: Document) -> Document:
    """The fleet with its labels, how many stations are online of those expected to be, and its summed minutes."""
    stations = [
        {
            **station,
            "state_label": words.STATES[station["state"]],
            "books_label": books_label(station["open_differences"]),
        }
        for station in document["stations"]
    ]
    states = Counter(station["state"] for station in stations)
    names = {station["station_id"]: station["name"] for station in stations}
    shown = alerts(document["alerts"], names)
    return {
        **document,
        "stations": stations,
        "alerts": shown[:SHOWN_ALERTS],
        "alerts_label": alerts_label(len(shown)),
        "online": states["online"],
        "expected": len(stations) - states["retired"],
        "books_label": books_label(document["open_differences"]),
        "minutes": figures.sum_minutes(stations),
    }


def alerts_label(number: int) -> str:
    """How many alerts there are, and how many are not shown."""
    if number <= SHOWN_ALERTS:
        return "What needs somebody, the most urgent first"
    return f"The first {SHOWN_ALERTS} of {number:,}; 'aquasmart-cloud alerts list' shows all"


def alerts(found: list[Document], names: Document) -> list[Document]:
    """Alerts with their labels: urgent ones first, then what nobody has seen yet, then the newest."""
    order = sorted(found, key=lambda alert: (alert["severity"] != URGENT, alert["state"] != OPEN, -alert["opened_at"]))
    return [_alert(alert, names) for alert in order]


def _alert(alert: Document, names: Document) -> Document:
    owner, seen_by = alert["station_id"], alert["acknowledged_by"]
    known = owner in names
    return {
        **alert,
        "key": alert["alert_id"],
        "owner_label": names.get(owner) or {CLOUD: "This cloud"}.get(owner, owner),
        "href": f"/stations/{owner}" if known else "/",
        "seen_label": f" · {seen_by} sees to it" + (f": {alert['note']}" if alert["note"] else "") if seen_by else "",
    }


def station(document: Document) -> Document:
    """One station with its labels, a sentence on how it fares, and a key for each item of its lists."""
    return {
        **document,
        "state_label": words.STATES[document["state"]],
        "books_label": books_label(document["open_differences"]),
        "clock_label": CLOCKS.get(document["clock"] or "", document["clock"]),
        "summary": summary(document),
        "alerts": alerts(document["alerts"], {document["station_id"]: document["name"]}),
        "differences": [difference(entry, document["station_id"]) for entry in document["differences"]],
        "intervals": [_interval(interval) for interval in document["intervals"]],
        "streams": [_stream(stream) for stream in document["streams"]],
        "notable": [_notable(event) for event in document["notable"]],
        "meters": [{**meter, "key": meter["meter_id"]} for meter in document["meters"]],
        "keys": [_key(key) for key in document["keys"]],
        "config_label": config_label(document["config"]),
    }


def config_label(config: Document) -> str:
    """How far the station's configuration has come, with the reasons where it has not."""
    if not config["version"]:
        return words.CONFIG["none"]
    said = f"Version {config['version']}: {words.CONFIG.get(config['state'], config['state'])}"
    if config["state"] in {"refused", "rolled-back"}:
        said += f" ({'; '.join(config['reasons'])})"
    return said


SILENT = {
    "retired": "Retired: it may no longer report. Its books stay as they are.",
    "never": "It has never reported. Put its key on the station and start its services; it shows here by itself.",
    "offline": "Silent for more than 15 minutes. Nothing is lost: it counts on and sends everything when the "
    "network is back. If others nearby report, check its power and its network.",
    "late": "No word for some minutes: probably its network. Nothing is lost; it counts on and sends later.",
}


def summary(document: Document) -> str:
    """How the station fares and what to do, in a sentence or two."""
    state, pending = document["state"], document["pending"]
    if state != "retired" and document["keys"] and all(key["revoked_at"] for key in document["keys"]):
        return "Its key is revoked: it keeps counting and holds everything until it gets a new key."
    if state in SILENT:
        return SILENT[state]
    if pending and (document["oldest_pending_s"] or 0) >= figures.NORMAL_WAIT_S:
        held = figures.backlog(pending, document["oldest_pending_s"])
        return f"Catching up: by its last heartbeat it still held {held}."
    if document["alerts"]:
        return "Reporting. Something needs somebody: its alerts say what, and what to do."
    if document["open_differences"]:
        return "Reporting. Its books have differences, each named below with its amount and what to do."
    return "Reporting normally. Everything that it has sent is booked, once."


def difference(entry: Document, station_id: str) -> Document:
    """A named difference with its words, who settled it, and where its page is."""
    told = words.difference(entry["kind"])
    settled = f"{entry['state'].capitalize()} by {entry['closed_by']}" if entry["closed_by"] else ""
    return {
        **entry,
        "key": entry["entry_id"],
        "href": f"/stations/{station_id}/differences/{entry['entry_id']}",
        "action_label": "Explain it" if entry["state"] == "open" else "More",
        "settled_label": settled + (f": {entry['note']}" if entry["note"] else ""),
        "title": told.title,
        "meaning": told.meaning,
        "advice": told.advice,
        "state": entry["state"].capitalize(),
        "detail": words.details(_decoded(entry["detail"])),
    }


def _interval(interval: Document) -> Document:
    return {
        **interval,
        "key": f"{interval['meter_id']}:{interval['epoch']}:{interval['from_counts']}",
        "kind_label": words.event(interval["kind"]),
        "scale_label": scale_label(interval["ul_num"], interval["den"]),
    }


def _stream(stream: Document) -> Document:
    return {**stream, "key": stream["stream"], "meter_label": stream["meter_id"] or "the station itself"}


def _notable(event: Document) -> Document:
    meter, data = f"{event['meter_id']} · " if event["meter_id"] else "", _decoded(event["data"])
    return {
        **event,
        "key": f"{event['stream']}:{event['seq']}",
        "kind_label": words.event(event["kind"], data),
        "data_label": (meter + words.details(data)).removesuffix(" · "),
    }


def _key(key: Document) -> Document:
    return {**key, "key": key["key_id"], "state_label": "Revoked" if key["revoked_at"] else "Active"}


def scale_label(ul_num: int, den: int) -> str:
    """A scale as the meter's maker gives it where that is a short number, else as the exact fraction."""
    counts_per_litre = Fraction(den * figures.UL_PER_LITRE, ul_num)
    if counts_per_litre.denominator == 1:
        return f"{counts_per_litre.numerator:,} counts/L"
    return f"{ul_num:,}/{den:,} µl"


def _decoded(text: Any) -> Any:
    """Stored JSON, or the text itself where it is none; what is decoded already as it is."""
    try:
        return msgspec.json.decode(text) if text and isinstance(text, str) else text or None
    except msgspec.DecodeError:
        return text
