"""A site of real processes for one test, with the network between them in the test's hand.

Waiting lives here too: tests wait for what they need to see, with a generous deadline, and never for a time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.faults import Exchange
from demo.link import Relay
from demo.site import MeterSpec, Site
from demo.specs import station_toml
from tests.fakes import nursery
from tests.fakes.ports import free_port
from tests.integration.databases import CloudBooks, StationLog

DEADLINE_S = 60.0
QUICK: dict[str, dict[str, Any]] = {
    "cloud": {"connect_timeout_s": 2, "read_timeout_s": 4},
    "reader": {"commit_interval_s": 0.1, "poll_hz": 20},
    "sync": {"linger_s": 0.1, "heartbeat_s": 1},
}
"""Settings that make a test short; each is one a technician may make."""

STEADY = MeterSpec(pattern="steady", flow_l_min=8.0)


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S, every_s: float = 0.05) -> Any:
    """The condition's first true value. AssertionError naming `what` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(every_s)
    return value


def merged(base: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings with changes, table by table."""
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in {*base, *changes}}


class World:
    """One site, its relay (to the site's cloud unless `upstream_port` says otherwise), its databases read-only."""

    def __init__(
        self,
        root: Path,
        *,
        meters: Sequence[MeterSpec] = (STEADY,),
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        upstream_port: int | None = None,
        template: Path | None = None,
        execed: bool = False,
    ) -> None:
        """`execed`: every process and command from a fresh interpreter, which coverage then measures."""
        self._template = template
        cloud_port = free_port()
        self.relay = Relay(0, upstream_port or cloud_port, record=100_000)
        self.relay.start()
        self.site = Site(
            root,
            cloud_port=cloud_port,
            station_url_port=self.relay.port,
            meters=meters,
            overrides=merged(QUICK, overrides or {}),
            launcher=None if execed else nursery.shared(),
        )
        self.log = StationLog(self.site.root / "station" / "log.db")
        self.cloud = CloudBooks(self.site.root / "cloud" / "cloud.db")

    def close(self) -> None:
        """End every process, all at once; politely, since what was measured in them is written when they end."""
        for name in self.site.names:
            if self.site.alive(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.site.pid(name), signal.SIGTERM)
        self.relay.stop()
        for name in self.site.names:
            self.site.stop(name, timeout_s=5)

    def prepare(self) -> None:
        """Provision, from the session's template where there is one: its cloud and key, this site's configuration."""
        site = self.site
        if self._template is None or site.config_path.exists():
            site.provision()
            return
        shutil.copytree(self._template, site.root)
        made = tomllib.loads(site.config_path.read_text())["cloud"]
        cloud = made | {"url": f"http://127.0.0.1:{site.station_url_port}"}
        site.config_path.write_text(station_toml(site.station_id, cloud, site.meters, site.overrides))

    def start(self, *names: str) -> None:
        """Provision, then start the named processes, or all."""
        self.prepare()
        for name in names or self.site.names:
            self.site.start(name)

    def with_pattern(self, pattern: str, meter_id: str = "tap-1") -> None:
        """Restart a simulated meter with another pattern of flow; its register goes on."""
        self.with_meter(meter_id, pattern=pattern)

    def with_meter(self, meter_id: str = "tap-1", **changes: Any) -> None:
        """Restart a simulated meter as another: its pattern, identity, a jump of its register."""
        self.site.stop(f"meter:{meter_id}")
        changed = (replace(m, **changes) if m.id == meter_id else m for m in self.site.meters)
        self.site.meters = tuple(changed)
        self.site.start(f"meter:{meter_id}")

    def take_baseline(self, then: str = "steady") -> None:
        """Let the reader see each meter stand still first, so that its baseline is the start counts exactly."""
        for meter in self.site.meters:
            self.with_pattern("idle", meter.id)
        self.site.start("reader")
        for meter in self.site.meters:
            self.log.await_kind("baseline", meter.id)
            self.with_pattern(then, meter.id)

    def await_flow(self, events: int = 5) -> None:
        """Wait until the log has grown by so many events."""
        have = self.log.events()
        eventually(lambda: self.log.events() >= have + events, f"{events} more events in the log")

    def await_delivered(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until every event of the log is acknowledged."""
        eventually(lambda: self.log.pending() == 0, "everything in the log acknowledged", timeout_s)

    def logged_all(self, meter_id: str = "tap-1") -> bool:
        """Whether the log has the meter's last count. What status shows of a meter is what the reader last heard."""
        rows = [row for row in self.log.rows() if row.meter_id == meter_id]
        return bool(rows) and rows[-1].counts == self.site.meter_counts(meter_id).lifetime

    def settle(self) -> None:
        """Stop the reader, which commits what the meter last told it; wait until the cloud has it all."""
        assert self.site.stop("reader") == 0, self.site.log_tail("reader")
        for name in ("cloud", "sync"):
            self.site.start(name)
        self.relay.set_state("pass")
        self.await_delivered()

    def key(self) -> bytes:
        """The station's key, for tests that sign requests themselves."""
        return bytes.fromhex((self.site.root / "station.key").read_text())

    def ingests(self) -> list[Exchange]:
        """Every ingest request that has come past the relay, in order."""
        return [exchange for exchange in self.relay.exchanges if exchange.target.startswith("/v1/ingest")]

    def tails(self) -> str:
        """What the processes said last, for a failed test's report."""
        return "\n".join(f"--- {name}\n{self.site.log_tail(name, 15)}" for name in self.site.names)
