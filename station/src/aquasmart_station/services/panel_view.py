"""What the panel shows, as one document: the station's report, today's volume, and what a person should look at.

Reads only, and shows what can be read where something cannot: a page that fails with the station it describes is of no
use to whoever stands before it.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from .. import __version__
from ..adapters.clock import SystemClock
from ..adapters.log_dead_letters import read_dead_letters
from ..adapters.log_today import dispensed_since
from ..config import Config
from ..core.degraded import words
from ..core.errors import LogError
from ..core.led import Health, health
from ..core.phrases import Phrase, joined, sentences
from .report import operations_waiting, report_without_log, station_report

CLOCKS = {
    "ntp": Phrase("set by the network"),
    "rtc": Phrase("kept by the board's battery; not confirmed by the network"),
    "restored": Phrase("restored after power-on; not confirmed by the network"),
    "unset": Phrase("not set: connect the network or set the clock"),
}


def panel_view(config: Config) -> dict[str, Any]:
    """Volumes in µl, durations in seconds, times in Unix ms. Never raises for a log or a service that is at fault."""
    now = datetime.now().astimezone()
    midnight_ms = int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    try:
        report = station_report(config)
        today = dispensed_since(config.log_path, midnight_ms)
        fault = ""
    except LogError as error:
        report, today, fault = report_without_log(config), {}, sentences(error.message, error.hint)
    found = health(
        report["reader"]["state"],
        report["sync"]["state"],
        [meter["state"] if meter["state"] != "unknown" else "waiting" for meter in report["meters"]],
        report["oldest_pending_s"],
    )
    quality = SystemClock().quality()
    return {
        "station_id": config.station_id,
        "software": __version__,
        "health": {
            "state": found.name.lower(),
            "word": found.word,
            "do": found.remedy if found is not Health.HEALTHY else "",
        },
        "meters": [_meter(meter, today) for meter in report["meters"]],
        "flow_ul_s": sum(meter["flow_ul_s"] or 0 for meter in report["meters"]),
        "today_ul": sum(today.values()),
        "log_ul": report["log_ul"],
        "acked_ul": report["acked_ul"],
        "pending": report["pending"],
        "waiting_ul": max(0, report["log_ul"] - report["acked_ul"]),
        "oldest_pending_s": report["oldest_pending_s"],
        "sync": _sync(report["sync"], time.time_ns() // 1_000_000),
        "disk": report["disk"],
        "room_bytes": _room_bytes(report["disk"]),
        "clock": {
            "now_ms": int(now.timestamp() * 1000),
            "text_now": f"{now:%Y-%m-%d %H:%M:%S}",
            "zone": now.tzname(),
            "quality": quality,
            "text": CLOCKS[quality],
        },
        "attention": _attention(config, report, fault),
        "notices": report["notices"][:3],
        "failed_operations": report["operations"].get("failed", 0),
        "frozen": [meter["meter_id"] for meter in report["meters"] if meter["state"] == "frozen"],
    }


def _meter(meter: dict[str, Any], today: dict[str, int]) -> dict[str, Any]:
    kept = {name: meter[name] for name in ("meter_id", "state", "text", "flow_ul_s", "log_ul", "meter_ul")}
    return kept | {"today_ul": today.get(meter["meter_id"], 0)}


def _room_bytes(disk: dict[str, Any] | None) -> int | None:
    """How much the log may still grow, by its budget and by its disk."""
    if disk is None:
        return None
    room: int = min(disk["budget_bytes"] - disk["used_bytes"], disk["free_bytes"])
    return max(0, room)


def _sync(sync: dict[str, Any], now_ms: int) -> dict[str, Any]:
    acknowledged, since = sync.get("acknowledged_at_ms"), sync.get("since_ms")
    return {
        "state": sync["state"],
        "reason": sync.get("reason", ""),
        "for_s": None if not since else max(0, (now_ms - since) // 1000),
        "acknowledged_ago_s": None if acknowledged is None else max(0, (now_ms - acknowledged) // 1000),
        "next_attempt_s": sync.get("next_attempt_s", 0),
        "difference": sync.get("difference", ""),
    }


def _attention(config: Config, report: dict[str, Any], fault: str) -> list[dict[str, str]]:
    """What is wrong, the worst first, each with its words."""
    log = Phrase("the log")
    said: list[tuple[str, str]] = [(log, fault)] if fault else []
    said += [
        (name, Phrase("does not run: {why}", why=report[name]["text"]))
        for name in ("reader", "sync")
        if report[name]["state"] in {"not-running", "stopped"}
    ]
    if report["reader"].get("fault"):
        said.append((log, report["reader"]["fault"]))
    said += [(m["meter_id"], m["text"]) for m in report["meters"] if m["text"]]
    sync = report["sync"]
    if sync["state"] in {"hold", "unverified", "offline", "log-fault"} and sync.get("reason"):
        said.append((Phrase("the cloud"), sync["reason"]))
    if sync.get("difference"):
        said.append((Phrase("the books"), Phrase("differ: {difference}", difference=sync["difference"])))
    shown = {text for _, text in said}
    said += [(Phrase("degraded"), text) for text in map(words, report["degraded"]) if text not in shown]
    letters = _dead_letters(config)
    if letters:
        text = Phrase("{n}: the cloud does not take them; their volume is in the books", n=letters)
        said.append((Phrase("refused events"), text))
    said += [
        (Phrase("operations"), joined(": ", (text, "aquasmart operations list")))
        for text in operations_waiting(report["operations"])
    ]
    return [{"what": what, "text": text} for what, text in said]


def _dead_letters(config: Config) -> int:
    """How many were not sent again since."""
    try:
        return sum(letter.resent_at_ms is None for letter in read_dead_letters(config.log_path))
    except LogError:
        return 0
