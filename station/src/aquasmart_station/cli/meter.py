"""`aquasmart meter`: what a technician asks of a meter at the port.

`probe` polls a few times with the reader's own driver and line, and says in words what is wrong. Nothing is written
anywhere, and no driver can change a meter. The reader holds its ports alone, so probe a configured port while it is
stopped, or look at `aquasmart status` while it runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import click

from aquasmart_station.adapters.serial_port import SerialLine
from aquasmart_station.cli.meter_calibrate import calibrate_meter
from aquasmart_station.cli.meter_swap import list_meters, swap
from aquasmart_station.cli.words import shown, tr
from aquasmart_station.core.errors import LinkDown, StationError
from aquasmart_station.core.model import Flag, Reading
from aquasmart_station.core.phrases import Phrase, joined
from aquasmart_station.meters.driver import Driver, DriverSettings, make_driver

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


def configured(config_path: Path, meter_id: str | None) -> list[Target]:
    """The meters of the configuration, or the one named. Raises BadConfig, UsageError."""
    from aquasmart_station.config import load_config

    meters = load_config(config_path, secrets=False).meters
    targets = [Target(meter.port, meter.settings) for meter in meters if meter_id in (None, meter.id)]
    if not targets:
        known = ", ".join(meter.id for meter in meters)
        raise click.UsageError(
            tr("no meter is called {meter_id!r}; the configuration has {known}", meter_id=meter_id, known=known)
        )
    return targets


@click.group()
def meter() -> None:
    """Look at a meter, calibrate it, or acknowledge that it was replaced."""


meter.add_command(list_meters)
meter.add_command(swap)
meter.add_command(calibrate_meter)


@meter.command()
@click.argument("meter_id")
@click.option("--k-factor", help="Pulses per litre, exactly as measured: 452.5.")
@click.option("--ul-per-count", help="Microlitres per count, exactly: 20000/9.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def scale(
    context: click.Context, meter_id: str, k_factor: str | None, ul_per_count: str | None, *, as_json: bool
) -> None:
    """Set what a count of METER_ID is worth from now on. What was counted before keeps its price."""
    from aquasmart_station.cli.settings import change, scale_value
    from aquasmart_station.config import load_config

    config = load_config(context.obj, secrets=False)
    meters = {each.id: each for each in config.meters}
    if meter_id not in meters:
        raise click.UsageError(
            tr(
                "no meter is called {meter_id!r}; the configuration has {meters}",
                meter_id=meter_id,
                meters=", ".join(meters),
            )
        )
    base = make_driver(meters[meter_id].settings).traits.scale
    former = {"ul_num": base.ul_num, "den": base.den}
    change(config, ("meters", meter_id, "scale"), scale_value(k_factor, ul_per_count), former, as_json=as_json)


@meter.command()
@click.argument("meter_id", required=False)
@click.option("--port", type=click.Path(path_type=Path), help="Probe this port instead of the configured ones.")
@click.option("--driver", help="With --port: the meter's driver, pulse or modbus.")
@click.option("--profile", help="With --port: the Modbus profile.")
@click.option("--slave", type=int, default=1, show_default=True, help="With --port: the Modbus address.")
@click.option("--baud", type=int, help="With --port: bits per second, if not the driver's own.")
@click.option("--polls", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--sweep", is_flag=True, help="Try every driver, profile, speed and address until a meter answers.")
@click.option("--slaves", default="1-10", show_default=True, help="With --sweep: Modbus addresses, such as 1-5,17.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def probe(
    context: click.Context,
    meter_id: str | None,
    port: Path | None,
    driver: str | None,
    profile: str | None,
    slave: int,
    baud: int | None,
    polls: int,
    sweep: bool,
    slaves: str,
    as_json: bool,
) -> None:
    """Poll METER_ID (default: every configured meter) a few times and say what is wrong.

    Exit status 1 where anything is. With --sweep: 1 where nothing answers at all.
    """
    if sweep:
        from aquasmart_station.cli.meter_sweep import sweep_port

        where = port or configured(context.obj, meter_id)[0].port
        context.exit(sweep_port(where, driver=driver, slaves=slaves, polls=polls, as_json=as_json))
    if port is None:
        targets = configured(context.obj, meter_id)
    else:
        k_factor = Fraction(450) if driver != "modbus" else None  # a probe shows counts: the price does not matter
        settings = DriverSettings(
            meter_id or port.name, driver or "pulse", baud, k_factor, 1_000_000, None, profile, slave
        )
        targets = [Target(port, settings)]
    try:
        findings = [probe_meter(target, polls) for target in targets]
    except ValueError as error:
        raise click.UsageError(shown(error.args[0])) from error
    if as_json:
        click.echo(json.dumps({"meters": [asdict(finding) for finding in findings]}))
    else:
        click.echo("\n".join(describe(finding) for finding in findings))
    if not all(finding.ok for finding in findings):
        sys.exit(1)
