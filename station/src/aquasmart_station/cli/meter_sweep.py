"""`aquasmart meter probe --sweep`: which meter is on this port, at which speed and address?

Tries what the drivers and their profiles know, one short question each, until something answers in full: a frame with
the right length, address and checksum is no accident. Then that meter is probed like a configured one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import click

from ..adapters.serial_port import SerialLine
from ..core.errors import LinkDown, StationError
from ..core.phrases import Phrase
from ..meters.driver import DriverSettings, make_driver
from .meter_probe import Target, describe, probe_meter
from .words import shown, tr

TRIES = 2
"""A first question may meet the rest of something else on the line."""
PULSE_BAUDS = (115_200, 9_600)
MODBUS_BAUDS = (9_600, 19_200, 4_800, 38_400, 57_600, 115_200, 2_400)
ANY_K_FACTOR = Fraction(450)
"""A sweep looks for answers, not for their price."""
QMAX_UL_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Guess:
    """One way a meter might be reached."""

    settings: DriverSettings
    words: str


def guesses(port: Path, driver: str | None, slaves: Sequence[int]) -> Iterator[Guess]:
    """The likely ones first: usual speeds before unusual ones, low addresses before high ones."""
    name = port.name
    if driver in (None, "pulse"):
        for baud in PULSE_BAUDS:
            settings = DriverSettings(name, "pulse", baud, ANY_K_FACTOR, QMAX_UL_S, None, None, 1)
            yield Guess(settings, Phrase("pulse bridge at {baud}", baud=baud))
    if driver in (None, "modbus"):
        for baud in MODBUS_BAUDS:
            for slave in slaves:
                for profile in profiles():
                    settings = DriverSettings(name, "modbus", baud, None, QMAX_UL_S, None, profile, slave)
                    said = {"profile": profile, "baud": baud, "slave": slave}
                    yield Guess(settings, Phrase("modbus {profile} at {baud}, address {slave}", **said))


def profiles() -> list[str]:
    """The Modbus profiles that are shipped."""
    folder = files("aquasmart_station.meters") / "profiles"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def answers(port: Path, guess: Guess) -> bool:
    """Whether a whole answer came. Raises LinkDown where the port itself fails."""
    driver = make_driver(guess.settings)
    line = SerialLine(port, driver.line)
    line.open()
    try:
        for _ in range(TRIES):
            try:
                line.exchange(driver.request(), driver)
            except LinkDown:
                raise
            except StationError:
                continue
            return True
    finally:
        line.close()
    return False


def parse_slaves(text: str) -> list[int]:
    """`1-5,17` as numbers. Raises UsageError."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError as fault:
        raise click.UsageError(tr("{text!r} is no list of addresses such as 1-5,17", text=text)) from fault
    if not found or min(found) < 1 or max(found) > 247:
        raise click.UsageError(tr("Modbus addresses go from 1 to 247"))
    return list(dict.fromkeys(found))


def sweep_port(port: Path, *, driver: str | None, slaves: str, polls: int, as_json: bool) -> int:
    """Find the meter on a port, probe it and say how to write it down. The exit status."""
    tries = list(guesses(port, driver, parse_slaves(slaves)))
    found = _find(port, tries, quiet=as_json)
    if found is None:
        if as_json:
            click.echo(json.dumps({"port": str(port), "tried": len(tries), "found": None}))
        else:
            click.echo(tr("nothing answers on {port}, tried {n} ways", port=port, n=len(tries)))
            click.echo(tr("Is the meter powered? Are A and B the right way round? Another address: --slaves 1-247"))
        return 1
    finding = probe_meter(Target(port, found.settings), polls)
    if as_json:
        click.echo(json.dumps({"port": str(port), "found": found.words, "meter": asdict(finding)}))
    else:
        click.echo(tr("found: {words}", words=found.words))
        click.echo(describe(replace(finding, meter_id=port.name)))
        click.echo(tr("in station.toml:") + f"\n{_table(port, found.settings)}")
    return 0 if finding.ok else 1


def _find(port: Path, tries: Sequence[Guess], *, quiet: bool) -> Guess | None:
    """The first guess that is answered. On a terminal a bar shows how far it is; else a line each."""
    if quiet or not sys.stderr.isatty():
        for number, guess in enumerate(tries, 1):
            if not quiet:
                click.echo(tr("{number} of {n}: {words}", number=number, n=len(tries), words=guess.words), err=True)
            if answers(port, guess):
                return guess
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(tries))
        for guess in tries:
            bar.update(task, description=shown(guess.words))
            if answers(port, guess):
                return guess
            bar.advance(task)
    return None


def _table(port: Path, settings: DriverSettings) -> str:
    lines = ["  [[meters]]", '  id = "tap-1"', f'  driver = "{settings.driver}"', f'  port = "{port}"']
    lines.append(f"  baud = {settings.baud}")
    if settings.driver == "modbus":
        lines += [f'  profile = "{settings.profile}"', f"  slave = {settings.slave}"]
    else:
        lines.append("  k_factor = 450  # as on the meter's plate, or by `aquasmart meter calibrate`")
    return "\n".join(lines)
