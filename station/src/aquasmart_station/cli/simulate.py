"""`aquasmart simulate`: a simulated meter on a real pseudo-terminal, speaking a real meter's protocol.

Only this command's wiring lives here: options, the count file, signals and the loop. The count file is written
before each answer and is never read by the reader or sync: it is what tests compare the books with.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from aquasmart_station.adapters.pty_host import PtyHost
from aquasmart_station.core.model import Scale
from aquasmart_station.meters.hydraulics import DAY_S, Hydraulics, Segment, backflow, idle, pours, steady
from aquasmart_station.meters.pulse import MODULUS as PULSE_MODULUS
from aquasmart_station.meters.simulated import Counter, MeterSide, PulseBridge, Totals, TufSlave

from .words import tr

TUF_MODULUS = (1 << 31) * 1_000_000
TUF_SCALE = Scale(1000, 1)
PATTERNS = ("pours", "steady", "idle", "backflow")
TICK_S = 0.2
"""How long a stop signal or a quiet line may wait."""


class CountFile:
    """The meter's own count, replaced in place; not fsynced, since it stands for the meter and not for the board."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def open(self) -> Totals | None:
        """The totals of the former run, None on the first. Raises ValueError where the file is something else."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        text = os.pread(self._descriptor, 128, 0).decode("ascii", "replace")
        return Totals.parse(text) if text.strip() else None

    def write(self, totals: Totals) -> None:
        os.pwrite(self._descriptor, totals.line().encode("ascii"), 0)


def powered_up(former: Totals | None, start_counts: int, modulus: int, *, volatile: bool, jump: int = 0) -> Totals:
    """The totals at power-up: a volatile register begins at 0, the other one goes on, `jump` counts away from where
    it was; the lifetime goes on, and no jump is in it: no water made it.
    """
    first = former or Totals(start_counts, start_counts, 0)
    return Totals(((0 if volatile else first.counts) + jump) % modulus, first.lifetime, first.boots + 1)


def segments(pattern: str, flow_ul_s: int, seed: int, second_of_day: int) -> Iterator[Segment]:
    """The water of a `--pattern`."""
    if pattern == "pours":
        return pours(flow_ul_s, seed, second_of_day)
    if pattern == "backflow":
        return backflow(flow_ul_s)
    return steady(flow_ul_s) if pattern == "steady" else idle()


def serve(host: PtyHost, counter: Counter, side: MeterSide, count_file: CountFile, ready: str) -> None:
    """Answer until SIGTERM or SIGINT. Says `ready` once the count file tells of this power-up and signals are heard."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    count_file.write(counter.totals)
    click.echo(ready)
    then_ns = time.monotonic_ns()
    while not stopping:
        data = host.read(TICK_S)
        step_ms = (time.monotonic_ns() - then_ns) // 1_000_000
        then_ns += step_ms * 1_000_000
        counter.advance_ms(step_ms)
        answers = side.feed(data) if data else []
        if answers:
            count_file.write(counter.totals)
        for answer in answers:
            host.write(answer)


@dataclass(frozen=True, slots=True)
class Simulation:
    """The command's options."""

    driver: str
    link: Path
    count_file: Path
    start_counts: int
    k_factor: Fraction
    pattern: str
    flow_l_min: float
    seed: int
    volatile: bool
    jump: int
    stuck: bool
    modulus: int | None
    identity: str | None
    slave: int

    @property
    def pulse(self) -> bool:
        return self.driver == "pulse"

    def counter(self, former: Totals | None) -> Counter:
        """The register at this power-up, and the water that will move it."""
        modulus = self.modulus or (PULSE_MODULUS if self.pulse else TUF_MODULUS)
        totals = powered_up(former, self.start_counts, modulus, volatile=self.volatile, jump=self.jump)
        flow_ul_s = round(self.flow_l_min * 1_000_000 / 60)
        water = Hydraulics(segments(self.pattern, flow_ul_s, self.seed + totals.boots, int(time.time()) % DAY_S))
        scale = Scale.from_k_factor(self.k_factor) if self.pulse else TUF_SCALE
        return Counter(totals, scale, modulus, water, stuck=self.stuck)

    def side(self, counter: Counter) -> MeterSide:
        """What answers on the line. Raises UsageError for an identity that no such meter has."""
        if self.pulse and self.identity is not None:
            raise click.UsageError(tr("a pulse bridge has no serial number: --identity is for --driver modbus"))
        if self.pulse:
            return PulseBridge(counter, f"{secrets.randbits(32):08x}", nonvolatile=not self.volatile)
        try:
            return TufSlave(counter, self.slave, self.identity)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _k_factor(_context: click.Context, _parameter: click.Parameter, value: str) -> Fraction:
    try:
        k_factor = Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(tr("{value!r} is no number of pulses per litre", value=value)) from error
    if k_factor <= 0:
        raise click.BadParameter(tr("a meter gives more pulses per litre than none: it must be above 0"))
    return k_factor


@click.command()
@click.option("--driver", type=click.Choice(["pulse", "modbus"]), default="pulse", show_default=True)
@click.option("--link", type=click.Path(path_type=Path), required=True, help="Where the port shall appear.")
@click.option("--count-file", type=click.Path(path_type=Path), required=True, help="The meter's own count.")
@click.option("--start-counts", type=click.IntRange(min=0), default=0, help="Register at the first start.")
@click.option("--k-factor", callback=_k_factor, default="450", show_default=True, help="Pulses per litre.")
@click.option("--pattern", type=click.Choice(PATTERNS), default="pours", show_default=True)
@click.option("--flow-l-min", type=float, default=8.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--volatile", is_flag=True, help="The register begins at 0 at each start, with a new boot id.")
@click.option("--jump", type=int, default=0, help="Counts that the register is off at power-up; negative: back.")
@click.option("--stuck", is_flag=True, help="The flow figure shows the water, the count stands still.")
@click.option("--modulus", type=click.IntRange(min=2), help="Where the register wraps to 0.")
@click.option("--identity", help="Serial number, up to 8 digits (modbus; a pulse bridge has none).")
@click.option("--slave", type=click.IntRange(1, 247), default=1, show_default=True, help="Modbus address.")
def simulate(**options: Any) -> None:
    """A simulated meter that speaks the real protocol on a pseudo-terminal at LINK."""
    simulation = Simulation(**options)
    file = CountFile(simulation.count_file)
    try:
        former = file.open()
    except ValueError as error:
        raise click.ClickException(
            tr("{count_file} is not a meter's count file: {error}", count_file=simulation.count_file, error=error)
        ) from error
    counter = simulation.counter(former)
    side, host = simulation.side(counter), PtyHost(simulation.link)
    host.open()
    try:
        serve(host, counter, side, file, f"simulated {simulation.driver} meter on {simulation.link}")
    finally:
        host.close()
