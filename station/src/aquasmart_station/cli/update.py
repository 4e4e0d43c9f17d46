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
from ..core.phrases import sentences
from .looks import console, table
from .words import shown, tr

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
    percent_shown = -1

    def progress(percent: int, words: str) -> None:
        nonlocal percent_shown
        if not as_json and percent != percent_shown:
            percent_shown = percent
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
        click.echo(tr("RAUC goes on with what has begun: aquasmart update status"), err=True)
        raise
    if as_json:
        click.echo(json.dumps({"installed": True, "number": bundle.number, "version": bundle.version}))
        return
    click.echo(
        tr(
            "version {version} (number {number}) is in the other slot; `reboot` tries it",
            version=bundle.version,
            number=bundle.number,
        )
    )


def _show_refusal(refusal: Refused, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"aquasmart: {shown(refusal.message)}\n{shown(refusal.hint)}", err=True)
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
        slots, fault = None, sentences(gone.message, gone.hint)
    document = update_status(UpdateFiles(), slots) | {"fault": fault}
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _show(document)


def _show(document: dict[str, Any]) -> None:
    click.echo(_running(document))
    floor = max(document["highest_good"] or 0, document["image"]["number"])
    click.echo(tr("floor   a bundle must have a number above {floor}", floor=floor))
    if document["highest_good"] is None:
        click.echo(tr("        and above the highest that was ever good here, which only root can read"))
    if document["slots"]:
        slots = table(tr("slot"), "", tr("version"), tr("number"), tr("installed"))
        for slot in document["slots"]:
            number = "" if slot["number"] is None else str(slot["number"])
            version = slot["version"] or tr("as flashed")
            slots.add_row(slot["bootname"], _use(slot, document["next"]), version, number, slot["installed_at"])
        console().print(slots)
    if document["fell_back"]:
        click.echo(
            tr("version {version} (number {number}) was tried and did not prove itself", **document["fell_back"])
        )
    if document["fault"]:
        click.echo(tr("slots unknown: {fault}", fault=document["fault"]), err=True)


def _running(document: dict[str, Any]) -> str:
    """What runs, and whether it has proved itself."""
    runs = tr("runs    version {version}, number {number}, for {compatible}", **document["image"])
    good = tr("marked good in this boot") if document["marked_good"] else tr("not marked good in this boot")
    trial = ""
    if document["on_trial"] and document["boot"] == "fallback":
        trial = tr("ON TRIAL")
    elif document["on_trial"] and document["boot"] == "last":
        trial = tr("counted: no slot is known to be good")
    return f"{runs}: {good}, {trial}" if trial else f"{runs}: {good}"


def _use(slot: dict[str, Any], started_next: str | None) -> str:
    words = [tr("runs")] if slot["booted"] else []
    words += [tr("next")] if slot["name"] == started_next else []
    words += [] if slot["bootable"] else [tr("not started any more")]
    return ", ".join(words or [tr("in reserve")])


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
