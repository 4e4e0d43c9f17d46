"""The station's metrics, gathered when somebody asks: what the services show in live.db, the log, the kernel.

Reads only. Counters of sync are since it started; Prometheus knows what a restart is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..adapters import operation_rows
from ..adapters.live import read_meters, read_service
from ..adapters.log_view import LogView
from ..adapters.ops import OpsFile
from ..adapters.process_usage import usage_of
from ..config import Config
from ..core.errors import LogError, OpsError
from ..core.metrics import Family, counter, gauge, summary
from .report import running_state

_STATES = ("starting", "online", "offline", "unverified", "hold", "log-fault", "stopped", "not-running")


def station_metrics(config: Config) -> list[Family]:
    """Every family. A log that cannot be read leaves its figures out: what is missing alarms by being absent."""
    parts = (_sync, _log, _operations, _link, _processes, _meters)
    return [family for part in parts for family in part(config)]


def _said(config: Config, service: str) -> tuple[str, Mapping[str, Any]]:
    said = read_service(config.live_path, f"{service}_state")
    return running_state(said), {} if said is None else said.figures


def _sync(config: Config) -> Iterator[Family]:
    state, figures = _said(config, "sync")
    states = dict.fromkeys(_STATES, 0) | {state: 1}
    alive = state not in {"stopped", "not-running"}
    yield gauge("aquasmart_sync_state", "1 for the state that sync is in.", states, "state")
    yield gauge("aquasmart_sync_lease_active", "1 while a sync process holds the lock and is alive.", int(alive))
    tally = figures.get("tally")
    if not tally:
        return
    for name, text in (
        ("processed", "Requests with events that were answered or given up."),
        ("succeeded", "Requests with events that the cloud has acknowledged, signed."),
        ("failed", "Requests with events that were not acknowledged; each is repeated."),
        ("retries", "Requests after the first one of the same batch."),
        ("retry_after", "Waits that the cloud, or something before it, asked for."),
        ("idempotency_hits", "Acknowledged batches of which the cloud had something already."),
        ("duplicate_events", "Events that were sent again and not stored again."),
    ):
        yield counter(f"aquasmart_sync_{name}_total", text, tally[name])
    yield counter("aquasmart_sync_errors_total", "Requests that failed, by class.", tally["errors"], "class")
    yield counter("aquasmart_sync_delivered_events_total", "Events acknowledged.", figures.get("events_delivered", 0))
    for name, text in (
        ("process_s", "Time from sending a batch to its whole answer."),
        ("backoff_s", "Pauses before another attempt."),
        ("delivery_s", "Time from an event to its acknowledgement, of three events of each batch."),
    ):
        yield summary(f"aquasmart_sync_{name.removesuffix('_s')}_seconds", text, tally[name])
    yield summary("aquasmart_sync_attempts", "Requests that a batch needed.", tally["attempts"])


def _log(config: Config) -> Iterator[Family]:
    try:
        with LogView(config.log_path) as log:
            pending = sum(standing.pending for standing in log.standings())
            ages = log.pending_at_ms((500, 10, 0)) if pending else None
            takeovers = log.takeovers()
    except LogError:
        return
    now_ms = time.time_ns() // 1_000_000
    yield gauge("aquasmart_sync_pending_events", "Events in the log that the cloud has not acknowledged.", pending)
    for index, name in enumerate(("p50", "p99", "max")):
        age_s = max(0.0, (now_ms - ages[index]) / 1000) if ages else 0
        text = f"Age of the events that wait: {name}, by their place in the log."
        yield gauge(f"aquasmart_sync_pending_age_{name}_seconds", text, age_s)
    yield counter("aquasmart_sync_takeovers_total", "Sync processes that have taken the log over, ever.", takeovers)


def _operations(config: Config) -> Iterator[Family]:
    """What stands in ops.db; kept there over restarts, so these are gauges."""
    if not config.ops_path.exists():
        return
    ops = OpsFile(config.ops_path)
    try:
        with ops.reading() as connection:
            states = dict.fromkeys(operation_rows.STATES, 0) | operation_rows.counted(connection)
            oldest_at_ms, attempts = operation_rows.waiting(connection)
    except OpsError:
        return
    finally:
        ops.close()
    age_s = 0 if oldest_at_ms is None else max(0.0, time.time_ns() / 1e9 - oldest_at_ms / 1000)
    yield gauge("aquasmart_operations", "Operations in ops.db, by state.", states, "state")
    yield gauge("aquasmart_operations_oldest_seconds", "Age of the oldest operation that waits.", age_s)
    yield gauge("aquasmart_operations_attempts", "Verified answers that it has had.", attempts)


def _link(config: Config) -> Iterator[Family]:
    link = _said(config, "sync")[1].get("link")
    if not link:
        return
    yield counter("aquasmart_link_requests_total", "Requests sent, by lane.", link["requests"], "lane")
    yield counter("aquasmart_link_sent_bytes_total", "Bytes of bodies sent.", link["sent_bytes"])
    yield counter("aquasmart_link_received_bytes_total", "Bytes of bodies received.", link["received_bytes"])
    yield counter("aquasmart_link_radio_seconds_total", "Time in which a request was under way.", link["radio_s"])


def _processes(config: Config) -> Iterator[Family]:
    resident: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for service in ("reader", "sync"):
        said = read_service(config.live_path, f"{service}_state")
        if said is None or running_state(said) in {"stopped", "not-running"}:
            continue
        used = usage_of(said.pid)
        if used is not None:
            resident[service], cpu[service] = used.resident_bytes, used.cpu_s
    yield gauge("aquasmart_process_resident_memory_bytes", "Resident memory.", resident, "service")
    yield counter("aquasmart_process_cpu_seconds_total", "Processor time, user and system.", cpu, "service")


def _meters(config: Config) -> Iterator[Family]:
    state, figures = _said(config, "reader")
    meters = read_meters(config.live_path)
    counts = {meter.meter_id: meter.counts for meter in meters.values() if meter.counts is not None}
    flows = {meter.meter_id: meter.flow_ul_s for meter in meters.values() if meter.flow_ul_s is not None}
    yield gauge("aquasmart_reader_running", "1 while the reader runs.", int(state not in {"stopped", "not-running"}))
    yield gauge("aquasmart_meter_ok", "1 while a meter answers and counts.", _ok(meters), "meter")
    # A gauge: a counter's reset begins a new epoch and goes back.
    yield gauge("aquasmart_meter_counts", "The meter's counts in its present epoch, unwrapped.", counts, "meter")
    yield gauge("aquasmart_meter_flow_microlitres_per_second", "Flow.", flows, "meter")
    reasons = figures.get("degraded", []) if state != "not-running" else []
    yield gauge("aquasmart_degraded", "1 for each reason to be degraded.", dict.fromkeys(reasons, 1), "reason")


def _ok(meters: Mapping[str, Any]) -> dict[str, float]:
    return {meter.meter_id: int(meter.state == "ok") for meter in meters.values()}
