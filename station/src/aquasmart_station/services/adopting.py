"""The settings that the reader owns, followed without a restart: from ops.db into the detectors, pollers and accounts.

Asked in each cycle of the reader; a look costs one pragma. A fault of ops.db changes nothing: what was in force stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..adapters import config_rows
from ..adapters.config_rows import InForce
from ..adapters.ops import OpsFile
from ..core.anomaly import Sensitivity
from ..core.errors import OpsError
from ..core.model import Draft, Scale
from ..core.remote_config import Path
from ..core.watching import WatchSettings
from .polling import MeterPoller

LOOK_EVERY_NS = 250_000_000


@dataclass(frozen=True, slots=True)
class Defaults:
    """What station.toml says of the settings that may change."""

    commit_interval_s: float
    idle_heartbeat_s: float
    poll_hz: float
    threshold: float
    leak_after_s: float
    slow_leak_after_s: float
    stuck_after_s: float
    no_flow_after_s: float
    scales: Mapping[str, Scale]


class SettingsWatch:
    """What is in force, where that has changed since it was last asked."""

    def __init__(self, ops: OpsFile, mono_ns: Callable[[], int]) -> None:
        self._ops, self._mono_ns = ops, mono_ns
        self._seen: tuple[int, int] | None = None
        self._looked_ns: int | None = None

    def changed(self) -> InForce | None:
        """Never raises: a database that cannot be read has changed nothing."""
        now_ns = self._mono_ns()
        if self._looked_ns is not None and now_ns - self._looked_ns < LOOK_EVERY_NS:
            return None
        self._looked_ns = now_ns
        try:
            moment = self._ops.moment()
            if moment == self._seen:
                return None
            with self._ops.reading() as connection:
                found = config_rows.in_force(connection)
        except OpsError:
            return None
        self._seen = moment
        return found

    def close(self) -> None:
        self._ops.close()


class ReaderSettings:
    """Brings what is in force into the reader's parts."""

    def __init__(self, watch: SettingsWatch, defaults: Defaults, sensitivity: Sensitivity) -> None:
        self._watch, self._defaults, self._sensitivity = watch, defaults, sensitivity
        self._force: InForce | None = None
        self.commit_interval_s = defaults.commit_interval_s

    def step(self, pollers: Sequence[MeterPoller]) -> tuple[list[Draft], dict[str, Any] | None]:
        """Apply what has changed, under the lock that the pollers book under: the rows that it ends, and the data of
        a `config_applied` row where another version of the cloud's settings came into force."""
        force, former = self._watch.changed(), self._force
        if force is None or force == former:
            return [], None
        self._force = force
        settings, defaults = force.settings, self._defaults
        self.commit_interval_s = settings.get(("reader", "commit_interval_s"), defaults.commit_interval_s)
        self._sensitivity.set_threshold(settings.get(("detect", "threshold"), defaults.threshold))
        drafts: list[Draft] = []
        for poller in pollers:
            poller.adopt(
                period_s=1 / settings.get(("reader", "poll_hz"), defaults.poll_hz),
                idle_heartbeat_s=settings.get(("reader", "idle_heartbeat_s"), defaults.idle_heartbeat_s),
            )
            poller.observer.adopt(self._watching(settings))
            drafts += self._price(poller, force, first=former is None)
        if former is None or (former.version, former.sha256) == (force.version, force.sha256):
            return drafts, None
        return drafts, {"version": force.version, "sha256": force.sha256, "trial": force.trial}

    def close(self) -> None:
        self._watch.close()

    def _price(self, poller: MeterPoller, force: InForce, *, first: bool) -> list[Draft]:
        """A stream that a change opens bears its token; one that a start opens, only while nobody has confirmed it."""
        path = ("meters", poller.meter_id, "scale")
        wanted = force.settings.get(path)
        scale = Scale(wanted["ul_num"], wanted["den"]) if wanted else self._defaults.scales[poller.meter_id]
        standing = force.tokens.get(path)
        return poller.rescale(scale, standing if first else force.made_here.get(path), standing)

    def _watching(self, settings: Mapping[Path, Any]) -> WatchSettings:
        def ms(name: str, default_s: float) -> int:
            return int(settings.get(("detect", name), default_s) * 1000)

        defaults = self._defaults
        return WatchSettings(
            leak_after_ms=ms("leak_after_s", defaults.leak_after_s),
            slow_leak_after_ms=ms("slow_leak_after_s", defaults.slow_leak_after_s),
            stuck_after_ms=ms("stuck_after_s", defaults.stuck_after_s),
            no_flow_after_ms=ms("no_flow_after_s", defaults.no_flow_after_s),
        )
