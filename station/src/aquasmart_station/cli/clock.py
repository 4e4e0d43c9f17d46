"""`aquasmart clock`: what the station knows of the time, and the clock's floor."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from .words import shown, tr


@click.command()
@click.option("--raise", "to_raise", is_flag=True, help="Set a clock that stands below its floor to it (at boot).")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def clock(context: click.Context, *, to_raise: bool, as_json: bool) -> None:
    """Show the clock, how far it is to be believed, and its floor: a time that has certainly passed."""
    from ..adapters.system_clock import set_clock
    from ..config import load_config
    from ..wiring.timing import time_report

    config_path: Path = context.obj
    report = time_report(load_config(config_path, secrets=False))
    raised = to_raise and report.behind_ms > 0
    if raised:
        set_clock(report.floor_ms)
    if as_json:
        click.echo(json.dumps(report.document() | {"raised": raised}, indent=2))
        return
    click.echo(f"{tr('clock'):8} {_shown(report.wall_ms)}  {report.quality}")
    click.echo(f"{tr('floor'):8} {_shown(report.floor_ms)}  {shown(report.floor_source)}")
    if report.boot is not None:
        known = tr("its time is known ({source}); earlier events are sent with it", source=report.boot.source)
        click.echo(f"{tr('boot'):8} {known}")
    elif report.quality == "unset":
        unknown = tr("its time is not known yet: events keep their order and get their time when it is")
        click.echo(f"{tr('boot'):8} {unknown}")
    if raised:
        click.echo(tr("the clock stood below its floor and has been set to it"))
    elif report.behind_ms:
        click.echo(
            tr("the clock stands BELOW its floor: connect the network, or run `aquasmart clock --raise` as root")
        )


def _shown(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
