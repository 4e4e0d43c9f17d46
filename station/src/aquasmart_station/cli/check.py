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
from .words import shown, tr

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
        click.echo(f"aquasmart: {shown(fault.message)}", err=True)
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
            click.echo(tr("there is no log yet; the reader makes it"))
        case "sound":
            click.echo(tr("the log is sound: {looked}", looked=looked))
        case "busy":
            click.echo(tr("reader or sync hold the log; looked at only, no damage seen: {looked}", looked=looked))
        case "damaged":
            click.echo(tr("the log is DAMAGED: {reason}", reason=verdict.reason))
            click.echo(tr("Reader or sync hold it, so nothing was touched. Stop both and run `aquasmart check` again."))
        case "salvaged" if verdict.figures is not None:
            click.echo(tr("the log was DAMAGED and has been salvaged; reader and sync may start"))
            for line in report_lines(verdict.reason, verdict.figures):
                click.echo(f"  {shown(line)}")
            click.echo(tr("the damaged files and this report are in {folder}", folder=verdict.folder))


def _looked(verdict: Verdict) -> str:
    found = verdict.examination
    rows = tr("{n} rows verified", n=found.rows)
    if not found.all_rows:
        rows = tr("the latest {n} rows verified", n=found.rows)
    if found.structure == "cut short by time":
        return tr("{rows}; structure in part (--full looks at all of it)", rows=rows)
    return rows
