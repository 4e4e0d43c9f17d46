"""`aquasmart meter swap` and `meter list`: which meter is at which tap, and that another one is there now.

The command asks and waits; the reader, which owns the books, does it. Nothing is decided here but whether there is
anything to acknowledge.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import click

from ..config import Config, load_config
from ..core.errors import StationError
from ..core.phrases import Phrase
from ..core.showing import state_words
from .asking import ask, awaited
from .words import confirmed, shown, tr

BUSY = 75
REFUSED = 1


def meters_now(config: Config) -> list[dict[str, Any]]:
    """Each configured meter with what the reader last said of it."""
    from ..adapters.live import read_meters, read_service
    from ..services.report import running_state

    running = running_state(read_service(config.live_path, "reader_state")) not in {"not-running", "stopped"}
    live = read_meters(config.live_path) if running else {}
    return [_meter(meter, live.get(meter.id)) for meter in config.meters]


def _meter(meter: Any, said: Any) -> dict[str, Any]:
    figures = dict(said.figures) if said else {}
    return {
        "meter_id": meter.id,
        "port": str(meter.port),
        "driver": meter.settings.driver,
        "profile": meter.settings.profile,
        "state": said.state if said else "reader-not-running",
        "text": said.text if said else "",
        "identity": figures.get("identity"),
        "raw_counts": said.raw_counts if said else None,
        "found_identity": figures.get("found_identity"),
        "found_counts": figures.get("found_counts"),
    }


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_meters(config_path: Path, *, as_json: bool) -> None:
    """The taps, their ports and the meters that answer there."""
    found = meters_now(load_config(config_path, secrets=False))
    if as_json:
        click.echo(json.dumps({"meters": found}))
        return
    from .looks import console, table

    found_meters = table(tr("tap"), tr("driver"), tr("port"), tr("state"), tr("serial number"), tr("register"))
    for each in found:
        driver = each["driver"] + (f" ({each['profile']})" if each["profile"] else "")
        number = each["identity"] or tr("none")
        if each["found_identity"]:
            number = tr("{found} in place of {former}", found=each["found_identity"], former=number)
        counts = each["raw_counts"]
        row = (
            each["meter_id"],
            driver,
            each["port"],
            shown(state_words(each["state"])),
            number,
            "" if counts is None else str(counts),
        )
        found_meters.add_row(*row)
    console().print(found_meters)


@click.command()
@click.argument("meter_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), default=15.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document; needs --yes.")
@click.pass_context
def swap(context: click.Context, meter_id: str, *, yes: bool, wait_s: float, as_json: bool) -> None:
    """Acknowledge that the meter of METER_ID was replaced. From the count first seen on, the new one is counted.

    Exit status: 0 done, 1 refused, 75 asked, but the reader has not done it yet; it does as soon as the meter answers.
    """
    from ..adapters.ops import OpsFile
    from ..services.swapping import SWAP, swap_argument

    config = load_config(context.obj, secrets=False)
    now = next((each for each in meters_now(config) if each["meter_id"] == meter_id), None)
    if now is None:
        known = ", ".join(meter.id for meter in config.meters)
        raise click.UsageError(
            tr("no meter is called {meter_id!r}; the configuration has {known}", meter_id=meter_id, known=known)
        )
    if as_json and not yes:
        raise click.UsageError(tr("--json asks nothing: say --yes, too"))
    _check(now)
    if not as_json:
        _show(now)
    if not yes:
        confirmed(tr("Has this meter been replaced?"), abort=True)
    token = str(uuid.uuid4())
    ops = OpsFile(config.ops_path)
    number = ask(ops, SWAP, swap_argument(meter_id, now["identity"], now["found_identity"], token))
    answer = awaited(ops, number, wait_s)
    if as_json:
        click.echo(json.dumps({"request": number, "change_token": token, "answer": answer}))
    elif answer is None:
        click.echo(tr("asked; the reader does it as soon as it runs and the meter answers"))
    else:
        done = tr("done: the new meter is counted, and the cloud will be told")
        click.echo(done if answer == "done" else answer)
    context.exit(BUSY if answer is None else 0 if answer == "done" else REFUSED)


def _check(now: dict[str, Any]) -> None:
    """Raises StationError where there is nothing to acknowledge."""
    if now["state"] == "reader-not-running":
        raise StationError(tr("the reader does not run"), hint=tr("Start it: systemctl start aquasmart-reader"))
    if now["identity"] and not now["found_identity"]:
        raise StationError(
            Phrase(
                "{meter} is {state}: the meter {identity} is the one that is counted",
                meter=now["meter_id"],
                state=state_words(now["state"]),
                identity=now["identity"],
            ),
            hint=tr("There is nothing to acknowledge. Put the new meter in; the port freezes when it answers."),
        )


def _show(now: dict[str, Any]) -> None:
    state = state_words(now["state"])
    click.echo(tr("{meter} on {port}: {state}", meter=now["meter_id"], port=now["port"], state=state))
    former = tr("meter {meter}", meter=now["identity"]) if now["identity"] else tr("meter without a serial number")
    now_name, until_name = tr("answers now"), tr("until now")
    width = max(12, len(now_name), len(until_name))
    click.echo(f"  {until_name:{width}}  {former}")
    if now["found_identity"]:
        new, counts = now["found_identity"], now["found_counts"]
        found = tr("meter {meter}, first seen at {counts} counts", meter=new, counts=counts)
        click.echo(f"  {now_name:{width}}  {found}")
        click.echo("  " + tr("What it has counted since it was first seen is counted too."))
    else:
        found = tr("a meter without a serial number, at {counts} counts", counts=now["raw_counts"])
        click.echo(f"  {now_name:{width}}  {found}")
        click.echo(
            "  " + tr("It is counted from its next reading on. Say yes only if the meter really is another one.")
        )
