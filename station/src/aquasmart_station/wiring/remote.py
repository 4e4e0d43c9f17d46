"""Sync's lanes besides telemetry and heartbeat: operations, settings and notices from afar, key rotation."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..adapters.clock import SystemClock
from ..adapters.config_rows import ConfigRow, InForce
from ..adapters.key_files import keys_folder
from ..adapters.live import read_meters
from ..adapters.ops import OpsDamaged, OpsFile
from ..adapters.ops_aside import set_aside
from ..config import Config
from ..core.keyring import KeyRing
from ..core.probation import Polls
from ..meters.driver import make_driver
from ..services.configuring import ConfigLane, tell
from ..services.exchange import Exchange
from ..services.local_changes import LOCAL_CHANGE, LocalChangeEffect
from ..services.operations import OperationsLane
from ..services.probation import Probation
from ..services.resending import RESEND_EVENT, ResendEffect
from ..services.rotating import KEY_CONFIRM, KeyRotation


@dataclass(frozen=True, slots=True)
class Remote:
    """The two lanes, and what every verified answer is shown to."""

    operations: OperationsLane
    config: ConfigLane
    rotation: KeyRotation

    def announced(self, data: Mapping[str, Any]) -> None:
        """What an answer of any lane announces."""
        self.config.announced(data)
        self.rotation.offered(data)


def open_ops(config: Config, now_ms: int) -> OpsFile:
    """ops.db, taken over; a damaged one is set aside first. Raises OpsError."""
    ops = OpsFile(config.ops_path)
    try:
        ops.check()
    except OpsDamaged as fault:
        ops.close()
        print(f"{fault}; set aside as {set_aside(config.ops_path, now_ms).name}", file=sys.stderr, flush=True)
    ops.take_over(now_ms)
    return ops


def top_counts(config: Config) -> dict[str, int]:
    """Each meter, with the highest count that must be priceable."""
    return {meter.id: make_driver(meter.settings).traits.modulus or 1 << 32 for meter in config.meters}


def remote(
    config: Config,
    ops: OpsFile,
    clock: SystemClock,
    keys: KeyRing,
    *,
    lane: Exchange,
    cautious: Exchange,
    lanes_heard_s: Callable[[], float],
    note_resent: Callable[[str, int, int], None],
    apply: Callable[[InForce], None],
) -> Remote:
    """`lane`: with the settings in force; `cautious`: with the former ones while new ones are on trial."""
    rotation = KeyRotation(
        ops=ops,
        keys=keys,
        folder=keys_folder(config.state_dir),
        now_ms=lambda: clock.wall_ns() // 1_000_000,
        mono_s=lambda: clock.mono_ns() / 1e9,
    )
    made: list[Remote] = []

    def announced(data: Mapping[str, Any]) -> None:
        made[0].announced(data)

    operations = OperationsLane(
        ops=ops,
        exchange=lane,
        clock=clock,
        draw=random.random,
        effects={LOCAL_CHANGE: LocalChangeEffect(), KEY_CONFIRM: rotation, RESEND_EVENT: ResendEffect(note_resent)},
        announced=announced,
        recheck_s=config.sync.recheck_s,
    )
    probation = Probation(
        ops=ops,
        clock=clock,
        polls=lambda: _polls(config),
        lanes_heard_s=lanes_heard_s,
        ended=_trial_ended,
        trial_ms=int(config.sync.trial_s * 1000),
    )
    settings = ConfigLane(
        ops=ops,
        exchange=cautious,
        clock=clock,
        draw=random.random,
        meters=top_counts(config),
        apply=apply,
        probation=probation,
        announced=rotation.offered,
        recheck_s=config.sync.recheck_s,
    )
    made.append(Remote(operations, settings, rotation))
    return made[0]


def _polls(config: Config) -> Polls:
    """All meters' polls since the reader started."""
    figures = [meter.figures for meter in read_meters(config.live_path).values()]
    good, bad = (sum(int(each.get(name) or 0) for each in figures) for name in ("polls_good", "polls_bad"))
    return Polls(good, bad)


def _trial_ended(connection: Any, row: ConfigRow, result: str, reasons: list[str], now_ms: int) -> None:
    tell(connection, row.version or 0, row.sha256 or "", result, reasons, now_ms)
