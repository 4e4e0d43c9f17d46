"""`aquasmart doctor`: everything that can be looked at from here, with the next step for whatever is wrong.

Exit status: 0 nothing wrong, 3 warnings only, 1 at least one fault, 78 the configuration cannot be used.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..config import load_config
from .words import shown

WARNINGS, FAULTS = 3, 1
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}


@click.command()
@click.option("--offline", is_flag=True, help="Leave the network out.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def doctor(context: click.Context, *, offline: bool, as_json: bool) -> None:
    """Look at configuration, keys, certificates, clock, disk, log, services, ports and the way to the cloud."""
    from ..wiring.doctoring import findings

    config_path: Path = context.obj
    found = []
    for finding in findings(load_config(config_path), offline=offline):
        found.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.verdict]
            click.echo(f"{click.style(mark, fg=colour)} {shown(finding.check)}: {shown(finding.text)}")
            if finding.next:
                click.echo(f"    → {shown(finding.next)}")
    if as_json:
        click.echo(json.dumps({"findings": [one.document() for one in found]}, indent=2, ensure_ascii=False))
    verdicts = {finding.verdict for finding in found}
    context.exit(FAULTS if "fault" in verdicts else WARNINGS if "warning" in verdicts else 0)
