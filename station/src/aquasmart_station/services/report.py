"""The station's state as one document: what `aquasmart status` shows and programs read.

Reads the log (what is durable) and live.db (what is so just now); writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..adapters import config_rows, notice_rows, operation_rows
from ..adapters.live import read_meters, read_service, why_unread
from ..adapters.log_space import limits
from ..adapters.log_view import LogView, StreamStanding, Usage
from ..adapters.ops import OpsFile
from ..config import Config
from ..core.errors import OpsError
from ..core.phrases import Phrase, counted
from ..core.retention import PRESSED_PERCENT, autonomy_hours
from ..core.showing import MeterState, ServiceState

STALE_MS = 10_000
"""A service that has not shown itself for so long is not running, or hangs."""


def station_report(config: Config) -> dict[str, Any]:
    """Volumes in µl from each epoch's baseline on; see docs/technician.md for every field. Raises LogError."""
    with LogView(config.log_path) as log:
        standings, usage = log.standings(), log.usage()
    return _report(config, standings, usage)


def report_without_log(config: Config) -> dict[str, Any]:
    """The same of a station whose log cannot be read: what live.db and ops.db say is not lost with it."""
    return _report(config, [], None)


def _report(config: Config, standings: Sequence[StreamStanding], usage: Usage | None) -> dict[str, Any]:
    mono_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    now_ms = time.time_ns() // 1_000_000
    live = read_meters(config.live_path)
    names = dict.fromkeys([*(meter.id for meter in config.meters), *(s.header.meter_id for s in standings)])
    meters = [_meter(name, standings, live.get(name)) for name in names if name is not None]
    oldest = [s.oldest_pending_at_ms for s in standings if s.oldest_pending_at_ms is not None]
    reader = _service(config.live_path, "reader_state", mono_ms)
    sync = _service(config.live_path, "sync_state", mono_ms)
    return {
        "station_id": config.station_id,
        "meter_ul": sum(meter["meter_ul"] for meter in meters),
        "log_ul": sum(meter["log_ul"] for meter in meters),
        "acked_ul": sum(meter["acked_ul"] for meter in meters),
        "pending": sum(standing.pending for standing in standings),
        "oldest_pending_s": max(0, (now_ms - min(oldest)) // 1000) if oldest else 0,
        "sync_state": sync["state"],
        "degraded": [] if reader["state"] == "not-running" else reader.get("degraded", []),
        "disk": None if usage is None else _disk(config, usage, reader),
        "meters": meters,
        "streams": [
            {
                "stream": str(s.header.id),
                "meter_id": s.header.meter_id,
                "last_seq": s.last_seq,
                "acked_through": s.acked_seq,
            }
            for s in standings
        ],
        "reader": reader,
        "sync": sync,
        **_told(config),
    }


def _told(config: Config) -> dict[str, Any]:
    """Operations by state, the settings in force and the latest notices; none of them where ops.db cannot be read."""
    empty: dict[str, Any] = {"operations": {}, "config": None, "notices": []}
    if not config.ops_path.exists():
        return empty
    ops = OpsFile(config.ops_path)
    try:
        with ops.reading() as connection:
            return {
                "operations": operation_rows.counted(connection),
                "config": config_rows.display(config_rows.in_force(connection)),
                "notices": notice_rows.latest(connection),
            }
    except OpsError as fault:
        return empty | {"operations": {"fault": fault.message}}
    finally:
        ops.close()


def _disk(config: Config, usage: Usage, reader: dict[str, Any]) -> dict[str, Any]:
    """Budget and use in bytes; days of autonomy at the present rate, before anything need be merged."""
    limit, use = limits(config.log_path, config.log.budget_bytes, config.log.retention_ms), usage.use
    to_budget_bytes = limit.budget_bytes * PRESSED_PERCENT // 100 - use.page_bytes
    hours = autonomy_hours(
        room_bytes=min(to_budget_bytes, use.room_bytes(limit)) + usage.acknowledged_bytes,
        grown_bytes=usage.grown_bytes,
        grown_ms=usage.grown_ms,
    )
    return {
        "budget_bytes": limit.budget_bytes,
        "used_bytes": use.used_bytes,
        "free_bytes": use.free_bytes,
        "autonomy_days": None if hours is None else round(hours / 24, 1),
        "resolution_ms": reader.get("resolution_ms", 0),
        "ring_resolution_ms": reader.get("ring_resolution_ms", 0),
    }


def _meter(name: str, standings: Sequence[StreamStanding], live: MeterState | None) -> dict[str, Any]:
    ours = [s for s in standings if s.header.meter_id == name]
    log_ul = sum(s.header.volume_ul(s.last_counts) for s in ours)
    document: dict[str, Any] = {
        "meter_id": name,
        "epoch": str(ours[-1].header.epoch) if ours else None,
        "meter_ul": log_ul,
        "log_ul": log_ul,
        "acked_ul": sum(s.header.volume_ul(s.acked_counts) for s in ours),
        "state": live.state if live else "unknown",
        "flow_ul_s": live.flow_ul_s if live else None,
        "text": live.text if live else "",
        "figures": dict(live.figures) if live else {},
    }
    # What the meter shows beyond the log: counted, not yet committed. Positions compare only within an epoch.
    if ours and live and live.counts is not None and live.epoch == document["epoch"]:
        header, last = ours[-1].header, ours[-1].last_counts
        if header.scale is not None and live.counts > last:
            document["meter_ul"] = log_ul + header.scale.volume_ul(last, live.counts)
    return document


def _service(path: Path, table: str, mono_ms: int) -> dict[str, Any]:
    said: ServiceState | None = read_service(path, table)
    if said is None:
        return {"state": "not-running", "text": nothing_shown(path, table)}
    age_ms = mono_ms - said.beat_mono_ms
    return {"state": running_state(said), "text": said.text, "beat_age_ms": max(0, age_ms), **said.figures}


def nothing_shown(path: Path, table: str) -> str:
    """Why a service shows nothing: it has not run, or what it shows cannot be read."""
    if fault := why_unread(path, table):
        return Phrase("what it shows cannot be read: {path}: {fault}", path=path, fault=fault)
    return Phrase("has not run since the machine started")


def running_state(said: ServiceState | None) -> str:
    """What a service last said it is in, unless it has not shown itself for a while or its process has gone."""
    if said is None:
        return "not-running"
    age_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 - said.beat_mono_ms
    if said.state != "stopped" and (age_ms > STALE_MS or age_ms < 0 or not _runs(said.pid)):
        return "not-running"
    return said.state


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def operations_waiting(counts: Mapping[str, Any]) -> list[str]:
    """What operations wait for a person, each kind with its number."""
    found: list[str] = []
    if counts.get("failed"):
        found.append(counted("{n} operation failed", "{n} operations failed", counts["failed"]))
    if counts.get("refused"):
        found.append(counted("{n} operation refused", "{n} operations refused", counts["refused"]))
    if counts.get("conflict"):
        found.append(counted("{n} operation in conflict", "{n} operations in conflict", counts["conflict"]))
    return found
