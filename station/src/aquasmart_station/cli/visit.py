"""`aquasmart visit`: a technician's visit, told to the operator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load_config
from ..core.phrases import marked
from ..core.showing import ago
from .words import looked_up, tr

if TYPE_CHECKING:
    from ..services.visiting import Visit

BEGUN = marked("the visit of {technician} has begun; the cloud is told as operation {n}")
NOTED = marked("noted in the visit of {technician}; the cloud is told as operation {n}")
ENDED = marked("the visit of {technician} has ended; the cloud is told as operation {n}")


@click.group()
def visit() -> None:
    """Say that you are here, what you did, and that you leave. Works without a network."""


@visit.command()
@click.option("--technician", required=True, help="Your name.")
@click.option("--note", default="", help="Why you are here.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def start(config_path: Path, technician: str, note: str, *, as_json: bool) -> None:
    """Begin a visit."""
    from ..services import visiting

    _tell(config_path, lambda connection, now: visiting.start(connection, technician, note, now), as_json, BEGUN)


@visit.command("note")
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def add_note(config_path: Path, text: str, *, as_json: bool) -> None:
    """Note something of the visit under way."""
    from ..services import visiting

    _tell(config_path, lambda connection, now: visiting.note(connection, text, now), as_json, NOTED)


@visit.command()
@click.option("--note", default="", help="What was done.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def end(config_path: Path, note: str, *, as_json: bool) -> None:
    """End the visit under way."""
    from ..services import visiting

    _tell(config_path, lambda connection, now: visiting.end(connection, note, now), as_json, ENDED)


@visit.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def show(config_path: Path, *, as_json: bool) -> None:
    """The visit under way, if any."""
    from ..adapters.ops import OpsFile
    from ..services.visiting import under_way

    with OpsFile(load_config(config_path, secrets=False).ops_path).reading() as connection:
        found = under_way(connection)
    if as_json:
        click.echo(json.dumps({"visit": _document(found)}, ensure_ascii=False))
    elif found is None:
        click.echo(tr("no visit is under way"))
    else:
        click.echo(
            tr(
                "{technician} has been here for {time}",
                technician=found.technician,
                time=ago(time.time() - found.started_at_ms / 1000),
            )
        )


def _tell(config_path: Path, do: Callable[[Any, int], tuple[int, Visit]], as_json: bool, what: str) -> None:
    from ..adapters.ops import OpsFile

    with OpsFile(load_config(config_path, secrets=False).ops_path).writing() as connection:
        number, found = do(connection, time.time_ns() // 1_000_000)
    if as_json:
        click.echo(json.dumps({"operation": number, "visit": _document(found)}, ensure_ascii=False))
    else:
        click.echo(looked_up(what).format(technician=found.technician, n=number))


def _document(found: Visit | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"id": found.id, "technician": found.technician, "started_at_ms": found.started_at_ms}
