"""What a probe of a meter finds, in words: some polls with the reader's own driver and line."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median_low

from ..adapters.serial_port import SerialLine
from ..core.errors import LinkDown, StationError
from ..core.model import Flag, Reading
from ..core.phrases import Phrase, joined
from ..meters.driver import Driver, DriverSettings, make_driver
from .words import shown, tr

PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Target:
    """A meter to probe."""

    port: Path
    settings: DriverSettings


@dataclass(slots=True)
class Finding:
    """What a probe found. `ok` is False where anything is wrong; `problems` says what, in words."""

    meter_id: str
    port: str
    driver: str
    ok: bool = False
    polls: int = 0
    answered: int = 0
    identity: str | None = None
    boot_id: str | None = None
    nonvolatile: bool | None = None
    counts: int | None = None
    flow_ul_s: int | None = None
    rtt_us: int | None = None
    """Median round trip."""
    rtt_max_us: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def probe_meter(target: Target, polls: int) -> Finding:
    """Poll `polls` times and judge. Never raises for what the meter or the line does."""
    settings = target.settings
    driver = make_driver(settings)
    finding = Finding(settings.meter_id, str(target.port), settings.driver, nonvolatile=driver.traits.nonvolatile)
    line = SerialLine(target.port, driver.line)
    readings: list[Reading] = []
    faults: Counter[str] = Counter()
    try:
        line.open()
        for _ in range(polls):
            finding.polls += 1
            try:
                readings.append(line.exchange(driver.request(), driver))
            except LinkDown:
                raise
            except StationError as fault:
                faults[_words(fault)] += 1
            time.sleep(PAUSE_S)
    except LinkDown as fault:
        finding.problems.append(_words(fault))
    finally:
        line.close()
    finding.problems += [
        Phrase("{text} ({times} of {polls} polls)", text=text, times=times, polls=finding.polls)
        for text, times in faults.items()
    ]
    _judge(finding, readings, driver)
    return finding


def _words(fault: StationError) -> str:
    return joined(" ", (part for part in (joined("", (fault.message, ".")), fault.hint) if part))


def _judge(finding: Finding, readings: list[Reading], driver: Driver) -> None:
    """Fill in what the answers say, and what is wrong with it."""
    finding.answered = len(readings)
    if readings:
        last, trips = readings[-1], [reading.rtt_us for reading in readings]
        finding.identity, finding.boot_id = last.identity, last.boot_id
        finding.counts, finding.flow_ul_s = last.forward_counts, last.flow_ul_s
        finding.rtt_us, finding.rtt_max_us = median_low(trips), max(trips)
        if last.nonvolatile is not None:
            finding.nonvolatile = last.nonvolatile
        finding.problems += _wrong(readings, driver)
        if last.identity is None:
            finding.notes.append(Phrase("the meter has no serial number: a swap will not be noticed by itself"))
        if not finding.nonvolatile:
            finding.notes.append(
                Phrase("the totaliser begins at 0 after a power cut: water in between cannot be known")
            )
    finding.ok = bool(readings) and not finding.problems


def _wrong(readings: list[Reading], driver: Driver) -> list[str]:
    """Faults that stand in good answers."""
    last = readings[-1]
    problems: list[str] = []
    if last.flags & Flag.SENSOR_STUCK:
        problems.append(Phrase("the meter reports a fault of its sensor"))
    if last.flags & Flag.RAIL_LOW:
        problems.append(Phrase("the meter reports a low supply voltage"))
    if last.flow_ul_s is not None and last.flow_ul_s > driver.traits.qmax_ul_s:
        problems.append(
            Phrase(
                "the flow of {flow} µl/s is above qmax ({qmax}): check both",
                flow=last.flow_ul_s,
                qmax=driver.traits.qmax_ul_s,
            )
        )
    for before, after in pairwise(readings):
        if after.forward_counts < before.forward_counts:
            fell = {"before": before.forward_counts, "after": after.forward_counts}
            problems.append(Phrase("the count fell from {before} to {after}", **fell))
    if len({reading.boot_id for reading in readings}) > 1:
        problems.append(Phrase("the meter restarted while it was probed: look at its supply"))
    return problems


def describe(finding: Finding) -> str:
    """A finding for people."""
    verdict = tr("ok") if finding.ok else tr("NOT OK")
    head = tr("{meter} ({driver} on {port})", meter=finding.meter_id, driver=finding.driver, port=finding.port)
    rows = []
    if finding.counts is not None and finding.rtt_us is not None and finding.rtt_max_us is not None:
        flow = tr("unknown") if finding.flow_ul_s is None else f"{finding.flow_ul_s * 60 / 1_000_000:.2f} L/min"
        kept = tr("kept over power cuts") if finding.nonvolatile else tr("lost at power cuts")
        identity = finding.identity or tr("none")
        boot = tr(", boot {boot}", boot=finding.boot_id) if finding.boot_id else ""
        trip = f"{finding.rtt_us / 1000:.1f} ms"
        slowest = f"{finding.rtt_max_us / 1000:.1f} ms"
        rows = [
            (tr("identity"), f"{identity}{boot}"),
            (tr("count"), f"{finding.counts} ({kept})"),
            (tr("flow"), flow),
            (tr("round trip"), tr("{trip}, slowest {slowest}", trip=trip, slowest=slowest)),
        ]
    rows.append((tr("answered"), tr("{answered} of {polls} polls", answered=finding.answered, polls=finding.polls)))
    rows += [(tr("problem"), shown(problem)) for problem in finding.problems]
    rows += [(tr("note"), shown(note)) for note in finding.notes]
    width = max(10, *(len(name) for name, _ in rows))
    return "\n".join([f"{head}: {verdict}", *(f"  {name:{width}}  {text}" for name, text in rows)])
