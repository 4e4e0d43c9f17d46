"""`aquasmart meter`: what a technician asks of a meter at the port.

`probe` polls a few times with the reader's own driver and line, and says in words what is wrong. Nothing is written
anywhere, and no driver can change a meter. The reader holds its ports alone, so probe a configured port while it is
stopped, or look at `aquasmart status` while it runs.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import click

from aquasmart_station.cli.meter_calibrate import calibrate_meter
from aquasmart_station.cli.meter_probe import Target, describe, probe_meter
from aquasmart_station.cli.meter_swap import list_meters, swap
from aquasmart_station.cli.words import shown, tr
from aquasmart_station.meters.driver import DriverSettings, make_driver


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
