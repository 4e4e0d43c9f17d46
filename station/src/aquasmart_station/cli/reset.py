"""`aquasmart reset --factory`: back to an empty log."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..config import load_config
from ..core.errors import LogBusy
from .words import shown, tr

BUSY = 75


@click.command()
@click.option("--factory", is_flag=True, help="Wipe the log and everything derived from it.")
@click.option(
    "--abandon", is_flag=True, help="Also where events have not been delivered: they are lost, and named first."
)
@click.option("--key", "with_key", is_flag=True, help="Remove the station's key too.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def reset(context: click.Context, *, factory: bool, abandon: bool, with_key: bool, as_json: bool) -> None:
    """Forget what was counted. Refused while anything is undelivered. Exit status 75 while reader or sync run."""
    from ..wiring.resetting import factory_reset, key_paths

    if not factory:
        raise click.UsageError(tr("say what to reset: --factory"))
    path: Path = context.obj
    config = load_config(path)
    try:
        with factory_reset(config) as work:
            also = key_paths(config) if with_key else []
            say = (lambda _: None) if as_json else (lambda text: click.echo(shown(text)))
            wiped = work.run(abandon=abandon, say=say, also_remove=also)
    except LogBusy as fault:
        click.echo(f"aquasmart: {shown(fault.message)}\n{shown(fault.hint)}", err=True)
        context.exit(BUSY)
    if as_json:
        loss = {"events": wiped.loss.events, "volume_ul": wiped.loss.volume_ul, "meters": wiped.loss.meters}
        click.echo(json.dumps({"wiped": True, "key_removed": with_key, "abandoned": loss, "named": wiped.named}))
        return
    removed = tr("the log is wiped; the key is removed too")
    click.echo(removed if with_key else tr("the log is wiped; the key is kept"))
    if not wiped.loss.events:
        click.echo(tr("everything in it had been acknowledged by the cloud"))
