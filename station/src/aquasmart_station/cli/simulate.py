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
from fractions import Fraction
from pathlib import Path

import click

from aquasmart_station.adapters.pty_host import PtyHost
from aquasmart_station.core.model import Scale
from aquasmart_station.meters.hydraulics import DAY_S, Hydraulics, Segment, idle, pours, steady
from aquasmart_station.meters.pulse import MODULUS as PULSE_MODULUS
from aquasmart_station.meters.simulated import Counter, MeterSide, PulseBridge, Totals, TufSlave

TUF_MODULUS = (1 << 31) * 1_000_000
TUF_SCALE = Scale(1000, 1)
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


def powered_up(former: Totals | None, start_counts: int, modulus: int, *, volatile: bool) -> Totals:
    """The totals at power-up: a volatile register begins at 0, the other one goes on; the lifetime always does."""
    if former is None:
        return Totals(0 if volatile else start_counts % modulus, start_counts, 1)
    return Totals(0 if volatile else former.counts, former.lifetime, former.boots + 1)


def segments(pattern: str, flow_ul_s: int, seed: int, second_of_day: int) -> Iterator[Segment]:
    """The water of a `--pattern`."""
    if pattern == "pours":
        return pours(flow_ul_s, seed, second_of_day)
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


def _side(counter: Counter, slave: int, identity: str | None, *, pulse: bool, volatile: bool) -> MeterSide:
    if pulse:
        return PulseBridge(counter, f"{secrets.randbits(32):08x}", nonvolatile=not volatile)
    try:
        return TufSlave(counter, slave, identity)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _k_factor(_context: click.Context, _parameter: click.Parameter, value: str) -> Fraction:
    try:
        k_factor = Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(f"{value!r} is no number of pulses per litre") from error
    if k_factor <= 0:
        raise click.BadParameter("a meter gives more pulses per litre than none: it must be above 0")
    return k_factor


@click.command()
@click.option("--driver", type=click.Choice(["pulse", "modbus"]), default="pulse", show_default=True)
@click.option("--link", type=click.Path(path_type=Path), required=True, help="Where the port shall appear.")
@click.option("--count-file", type=click.Path(path_type=Path), required=True, help="The meter's own count.")
@click.option("--start-counts", type=click.IntRange(min=0), default=0, help="Register at the first start.")
@click.option("--k-factor", callback=_k_factor, default="450", show_default=True, help="Pulses per litre.")
@click.option("--pattern", type=click.Choice(["pours", "steady", "idle"]), default="pours", show_default=True)
@click.option("--flow-l-min", type=float, default=8.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--volatile", is_flag=True, help="The register begins at 0 at each start, with a new boot id.")
@click.option("--modulus", type=click.IntRange(min=2), help="Where the register wraps to 0.")
@click.option("--identity", help="Serial number, up to 8 digits (modbus; a pulse bridge has none).")
@click.option("--slave", type=click.IntRange(1, 247), default=1, show_default=True, help="Modbus address.")
def simulate(
    driver: str,
    link: Path,
    count_file: Path,
    start_counts: int,
    k_factor: Fraction,
    pattern: str,
    flow_l_min: float,
    seed: int,
    volatile: bool,
    modulus: int | None,
    identity: str | None,
    slave: int,
) -> None:
    """A simulated meter that speaks the real protocol on a pseudo-terminal at LINK."""
    pulse = driver == "pulse"
    if pulse and identity is not None:
        raise click.UsageError("a pulse bridge has no serial number: --identity is for --driver modbus")
    modulus = modulus or (PULSE_MODULUS if pulse else TUF_MODULUS)
    file = CountFile(count_file)
    try:
        totals = powered_up(file.open(), start_counts, modulus, volatile=volatile)
    except ValueError as error:
        raise click.ClickException(f"{count_file} is not a meter's count file: {error}") from error
    water = segments(pattern, round(flow_l_min * 1_000_000 / 60), seed + totals.boots, int(time.time()) % DAY_S)
    counter = Counter(totals, Scale.from_k_factor(k_factor) if pulse else TUF_SCALE, modulus, Hydraulics(water))
    side = _side(counter, slave, identity, pulse=pulse, volatile=volatile)
    host = PtyHost(link)
    host.open()
    try:
        serve(host, counter, side, file, f"simulated {driver} meter on {link}")
    finally:
        host.close()
