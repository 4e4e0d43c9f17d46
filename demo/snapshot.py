"""The three counts side by side: the meter's own, the station's log, the cloud's. What the terminal view shows.

Reads only: the simulated meter's count file (which the product never reads), the station's log through the
same report as `aquasmart status`, the cloud through the same `/api/fleet` as its page. Volumes in µl.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from aquasmart_station.adapters.log_view import LogView
from aquasmart_station.config import load_config
from aquasmart_station.core.errors import StationError
from aquasmart_station.services.report import station_report
from demo.site import Site

CLOUD_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Snapshot:
    """Where everything stands. None: not known yet, or not answering."""

    meter_ul: int | None = None
    meter_counts: int | None = None
    log_ul: int | None = None
    cloud_ul: int | None = None
    cloud_events: int | None = None
    open_differences: int = 0
    pending: int = 0
    oldest_pending_s: int = 0
    flow_ul_s: int | None = None
    meter_state: str = "starting"
    sync_state: str = "starting"
    sync_text: str = ""

    @property
    def balanced(self) -> bool:
        """Whether all three counts are known and equal to the microlitre."""
        return self.meter_ul is not None and self.meter_ul == self.log_ul == self.cloud_ul


def gather(site: Site) -> Snapshot:
    """Everything at this moment, the cloud first: what flows meanwhile can only make the station look ahead."""
    cloud = _cloud(site)
    station = _station(site)
    return Snapshot(**cloud, **station, **_meter(site))


def _cloud(site: Site) -> dict[str, Any]:
    token = (site.root / "cloud" / "admin.token").read_text().strip()
    line = HTTPConnection("127.0.0.1", site.cloud_port, timeout=CLOUD_TIMEOUT_S)
    try:
        line.request("GET", "/api/fleet", headers={"Authorization": f"Bearer {token}"})
        answer = line.getresponse()
        fleet = json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        fleet = None
    finally:
        line.close()
    mine = [] if fleet is None else [s for s in fleet["stations"] if s["station_id"] == site.station_id]
    if not mine:
        return {}
    return {
        "cloud_ul": mine[0]["volume_ul"],
        "cloud_events": mine[0]["events"],
        "open_differences": mine[0]["open_differences"],
    }


def _station(site: Site) -> dict[str, Any]:
    try:
        report = station_report(load_config(site.config_path))
    except StationError:
        return {}
    meter = report["meters"][0]
    return {
        "log_ul": report["log_ul"],
        "pending": report["pending"],
        "oldest_pending_s": report["oldest_pending_s"],
        "sync_state": report["sync_state"],
        "sync_text": report["sync"]["text"],
        "meter_state": meter["state"],
        "flow_ul_s": meter["flow_ul_s"],
    }


def _meter(site: Site) -> dict[str, Any]:
    """The meter's own count, priced from where its first epoch began; the demonstration's meter never resets."""
    try:
        with LogView(load_config(site.config_path).log_path) as log:
            headers = [standing.header for standing in log.standings() if standing.header.scale is not None]
        count = site.meter_counts(site.meters[0].id)
    except (StationError, OSError, ValueError):
        return {}
    if not headers or headers[0].scale is None:
        return {"meter_counts": count.lifetime}
    volume_ul = headers[0].scale.volume_ul(headers[0].epoch_from, count.lifetime)
    return {"meter_counts": count.lifetime, "meter_ul": volume_ul}
