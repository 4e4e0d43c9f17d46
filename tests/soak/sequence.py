"""One sequence: a fresh station, its faults one after another, and the books at the end."""

from __future__ import annotations

import shutil
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.outpost import House, Launcher

from .kinds import BESIDE_SYNC, STRIKES, take_copy
from .plan import Card, Plan
from .rig import Rig

TALKATIVE = 0.2
"""How often a fault is followed by an operation to tell the cloud."""


@dataclass
class Result:
    """What a sequence was. `failure` is empty where the books balanced."""

    index: int
    fired: Counter[Card] = field(default_factory=Counter)
    seconds: float = 0.0
    events: int = 0
    volume_ul: int = 0
    streams: int = 0
    operations: int = 0
    failure: str = ""


def run(plan: Plan, house: House, folder: Path, launcher: Launcher) -> Result:
    """Run it. Never raises: a failure is in the result, its files are left in `folder`."""
    result, began_s = Result(plan.index), time.monotonic()
    dice = plan.dice()
    rig: Rig | None = None
    try:
        rig = Rig(house, folder / "station", launcher, dice)
        _faults(plan, rig, result)
        rig.settle()
        result.events, result.volume_ul = rig.station.log.events(), rig.station.volume_ul()
        result.operations = len(rig.queued)
        result.streams = len(rig.station.log.last_seqs())
    except Exception as fault:
        told = rig.station.tails(25) if rig else ""
        happened = ", ".join(f"{card.kind} ({card.state})" for card in result.fired)
        where = traceback.extract_tb(fault.__traceback__)[-1]
        what = f"{type(fault).__name__}: {fault} ({where.name}: {where.line})"
        result.failure = f"{what}\nafter: {happened}\n{told}"
    finally:
        if rig is not None:
            rig.close()
    result.seconds = time.monotonic() - began_s
    if not result.failure:
        shutil.rmtree(folder)
    return result


def _faults(plan: Plan, rig: Rig, result: Result) -> None:
    take_copy(rig)
    former = ""
    again_at = rig.dice.randrange(len(plan.cards))
    for number, card in enumerate(plan.cards):
        if number == again_at and rig.dice.random() < 0.5:
            take_copy(rig)
        rig.reach(card.state, undisturbed=former in BESIDE_SYNC)
        former = card.kind
        STRIKES[card.kind](rig)
        result.fired[card] += 1
        rig.assert_no_mark_is_ahead()
        if rig.dice.random() < TALKATIVE:
            rig.queue_operation()
