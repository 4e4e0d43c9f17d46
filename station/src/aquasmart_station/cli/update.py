"""`aquasmart update`: install a bundle by hand, see where updates stand; what systemd runs to mark an image good.

Exit status of `install`: 0 installed, 1 refused for good or failed, 75 not now.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load_config
from ..core.errors import UpdateError
from .looks import console, table

if TYPE_CHECKING:
    from ..services.updating import Refused

NOT_NOW = 75


@click.group()
def update() -> None:
    """Install a newer image into the slot that does not run; see which runs. Needs root."""


@update.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--again", is_flag=True, help="Also a bundle of the number that runs: it fills the other slot.")
@click.option(
    "--despite-meters", is_flag=True, help="Although no meter is read: this bundle is to mend that. Never by itself."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def install(context: click.Context, file: Path, *, again: bool, despite_meters: bool, as_json: bool) -> None:
    """Install the bundle FILE. It is tried at the next boot, and kept only if it counts.

    Refused: not signed for this station, made for another board, older, or the present image counts nothing now.
    """
    from ..adapters.rauc import Rauc
    from ..adapters.update_files import UpdateFiles
    from ..services import updating

    files, config = UpdateFiles(), load_config(context.obj, secrets=False)
    shown = -1

    def progress(percent: int, words: str) -> None:
        nonlocal shown
        if not as_json and percent != shown:
            shown = percent
            click.echo(f"{percent:3} %  {words}")

    try:
        bundle = updating.install(
            file.absolute(),
            rauc=Rauc(),
            files=files,
            look=lambda: updating.look_at_station(config, files),
            on_progress=progress,
            again=again,
            despite_meters=despite_meters,
        )
    except updating.Refused as refusal:
        _show_refusal(refusal, as_json=as_json)
        context.exit(1 if refusal.final else NOT_NOW)
    except UpdateError as fault:
        if not as_json:
            raise
        click.echo(json.dumps({"installed": False, "fault": str(fault), "hint": fault.hint}, ensure_ascii=False))
        context.exit(1)
    except KeyboardInterrupt:
        click.echo("RAUC goes on with what has begun: aquasmart update status", err=True)
        raise
    if as_json:
        click.echo(json.dumps({"installed": True, "number": bundle.number, "version": bundle.version}))
        return
    click.echo(f"version {bundle.version} (number {bundle.number}) is in the other slot; `reboot` tries it")


def _show_refusal(refusal: Refused, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"aquasmart: {refusal}\n{refusal.hint}", err=True)
        return
    reasons = [{"code": one.code, "text": one.text, "final": one.final} for one in refusal.reasons]
    click.echo(json.dumps({"installed": False, "reasons": reasons}, ensure_ascii=False))


@update.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
def status(*, as_json: bool) -> None:
    """Show what runs, what the other slot holds, and what the next boot will start."""
    from ..adapters.rauc import Rauc
    from ..adapters.update_files import UpdateFiles
    from ..services.updating import update_status

    try:
        slots, fault = Rauc().status(), ""
    except UpdateError as gone:
        slots, fault = None, f"{gone} {gone.hint}".strip()
    document = update_status(UpdateFiles(), slots) | {"fault": fault}
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _show(document)


def _show(document: dict[str, Any]) -> None:
    image = document["image"]
    good = "marked good in this boot" if document["marked_good"] else "not marked good in this boot"
    trial = {"fallback": ", ON TRIAL", "last": ", counted: no slot is known to be good"}.get(document["boot"], "")
    running = f"runs    version {image['version']}, number {image['number']}, for {image['compatible']}"
    click.echo(f"{running}: {good}{trial if document['on_trial'] else ''}")
    click.echo(f"floor   a bundle must have a number above {max(document['highest_good'], image['number'])}")
    if document["slots"]:
        shown = table("slot", "", "version", "number", "installed")
        for slot in document["slots"]:
            words = ["runs"] if slot["booted"] else []
            words += ["next"] if slot["name"] == document["next"] else []
            words += [] if slot["bootable"] else ["not started any more"]
            number = "" if slot["number"] is None else str(slot["number"])
            version = slot["version"] or "as flashed"
            shown.add_row(slot["bootname"], ", ".join(words or ["in reserve"]), version, number, slot["installed_at"])
        console().print(shown)
    if document["fell_back"]:
        one = document["fell_back"]
        click.echo(f"version {one['version']} (number {one['number']}) was tried and did not prove itself")
    if document["fault"]:
        click.echo(f"slots unknown: {document['fault']}", err=True)


@update.command("mark-good", hidden=True)
@click.option("--within", "within_s", type=float, default=600.0, show_default=True, help="On trial: so many seconds.")
@click.option("--hold", "hold_s", type=float, default=30.0, show_default=True, help="So long all must be well.")
@click.pass_context
def mark_good(context: click.Context, within_s: float, hold_s: float) -> None:
    """For aquasmart-mark-good.service: wait until the image has proved itself, and mark it. 1: its time is over."""
    from ..adapters.rauc import Rauc
    from ..adapters.update_files import UpdateFiles
    from ..adapters.watchdog import SystemdWatchdog
    from ..services.proving import prove

    supervisor, last = SystemdWatchdog(), ""
    supervisor.ready()

    def say(words: str) -> None:
        nonlocal last
        supervisor.status(words)
        if words != last:
            last = words
            print(words, file=sys.stderr, flush=True)

    config = load_config(context.obj, secrets=False)
    proved = prove(config, UpdateFiles(), Rauc(), say=say, within_ms=int(within_s * 1000), hold_ms=int(hold_s * 1000))
    context.exit(0 if proved else 1)
