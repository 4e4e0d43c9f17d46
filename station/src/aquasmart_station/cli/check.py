"""`aquasmart check`: is the log sound; before the services start, save it if it is not.

Exit status: 0 sound, or no log yet; 3 was damaged and has been salvaged; 4 damage seen, but services hold the log;
75 (EX_TEMPFAIL) no damage seen, but services hold the log, so only looked at; 1 could not be checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..config import load_config
from ..core.errors import LogBusy

if TYPE_CHECKING:
    from ..services.check import Verdict

SALVAGED, DAMAGED, BUSY = 3, 4, 75
_STATUS = {"salvaged": SALVAGED, "damaged": DAMAGED, "busy": BUSY}


@click.command()
@click.option("--full", is_flag=True, help="Every row and the whole structure, however long it takes.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def check(context: click.Context, *, full: bool, as_json: bool) -> None:
    """Check the log; quarantine and salvage it if it is damaged. Stop reader and sync first."""
    from ..wiring.checking import checker

    config_path: Path = context.obj
    try:
        verdict = checker(load_config(config_path, secrets=False)).check(full=full)
    except LogBusy as fault:
        click.echo(f"aquasmart: {fault}", err=True)
        context.exit(BUSY)
    show(verdict, as_json=as_json)
    context.exit(_STATUS.get(verdict.state, 0))


def show(verdict: Verdict, *, as_json: bool) -> None:
    """A verdict for people or programs."""
    from ..services.check import report_lines

    if as_json:
        click.echo(json.dumps(verdict.document(), indent=2, ensure_ascii=False))
        return
    looked = _looked(verdict)
    match verdict.state:
        case "none":
            click.echo("there is no log yet; the reader makes it")
        case "sound":
            click.echo(f"the log is sound: {looked}")
        case "busy":
            click.echo(f"reader or sync hold the log; looked at only, no damage seen: {looked}")
        case "damaged":
            click.echo(f"the log is DAMAGED: {verdict.reason}")
            click.echo("Reader or sync hold it, so nothing was touched. Stop both and run `aquasmart check` again.")
        case "salvaged" if verdict.figures is not None:
            click.echo("the log was DAMAGED and has been salvaged; reader and sync may start")
            for line in report_lines(verdict.reason, verdict.figures):
                click.echo(f"  {line}")
            click.echo(f"the damaged files and this report are in {verdict.folder}")


def _looked(verdict: Verdict) -> str:
    found = verdict.examination
    rows = f"{found.rows} rows verified" if found.all_rows else f"the latest {found.rows} rows verified"
    return rows + {"cut short by time": "; structure in part (--full looks at all of it)"}.get(found.structure, "")
