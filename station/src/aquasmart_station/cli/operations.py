"""`aquasmart operations`: what waits to be told to the cloud, what failed, and what a technician decides about it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load_config
from ..core.errors import BadOperation
from ..core.operations import TYPES
from ..core.phrases import marked
from .asking import ask, awaited
from .words import looked_up, tr

if TYPE_CHECKING:
    from ..adapters.ops import OpsFile

ANSWER_S = 5.0
"""How long sync, the owner of what is asked, is waited for."""
_WORDS = {
    "pending": marked("waits for the cloud"),
    "done": marked("done"),
    "failed": marked("FAILED: retry it when the cause is gone"),
    "refused": marked("REFUSED by the cloud; its local effect was rolled back"),
    "conflict": marked("CONFLICT: the cloud's value counts until you resolve it"),
    "superseded": marked("replaced by a later one"),
}


@click.group()
def operations() -> None:
    """What the station tells the cloud besides telemetry."""


@operations.command("list")
@click.option("--all", "everything", is_flag=True, help="What is done, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_operations(config_path: Path, *, everything: bool, as_json: bool) -> None:
    """What waits, failed, was refused or is in conflict."""
    from ..adapters import operation_rows as rows

    states = () if everything else ("pending", "failed", "refused", "conflict")
    with _ops(config_path).reading() as connection:
        found, counts = rows.listed(connection, states), rows.counted(connection)
    if as_json:
        click.echo(json.dumps({"counts": counts, "operations": [each.document() for each in found]}))
        return
    for each in found:
        said = f"  {each.error}" if each.error else ""
        click.echo(f"{each.id:>5}  {_when(each.created_at_ms)}  {each.type:<18} {_words(each.state)}{said}")
    if not found:
        click.echo(tr("nothing waits and nothing has failed"))


@operations.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def show(config_path: Path, number: int, *, as_json: bool) -> None:
    """One operation with everything that is known of it."""
    from ..adapters import operation_rows as rows

    with _ops(config_path).reading() as connection:
        found = rows.operation(connection, number)
    if found is None:
        raise BadOperation(
            tr("there is no operation {number}", number=number),
            hint=tr("`aquasmart operations list --all` shows them."),
        )
    document = found.document() | {"answer": json.loads(found.answer) if found.answer else None}
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for name, value in document.items():
        click.echo(f"{name:<16} {json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value}")


@operations.command("retry")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def retry(config_path: Path, number: int, *, as_json: bool) -> None:
    """Queue a failed or refused operation again."""
    _ask(config_path, "retry", {"operation": number}, as_json=as_json)


@operations.command("resolve")
@click.argument("number", type=int)
@click.option("--keep", type=click.Choice(["mine", "cloud"]), required=True, help="Whose value shall count.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def resolve(config_path: Path, number: int, keep: str, *, as_json: bool) -> None:
    """Decide a conflict: make the local change anew upon the cloud's settings, or let it be."""
    _ask(config_path, "resolve", {"operation": number, "keep": keep}, as_json=as_json)


@operations.command("add")
@click.argument("kind", metavar="TYPE")
@click.argument("parameters", nargs=-1, metavar="NAME=VALUE...")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def add(config_path: Path, kind: str, parameters: tuple[str, ...], *, as_json: bool) -> None:
    """Tell the cloud something, such as a visit: `operations add service_visit technician=Ada note="new filter"`.

    A time that is not given is now. Values are text, or JSON where they are JSON.
    """
    from ..adapters import operation_rows as rows

    now_ms = time.time_ns() // 1_000_000
    values = dict(_parameter(each) for each in parameters)
    if kind in TYPES:
        values |= {name: now_ms for name in TYPES[kind].required if name.endswith("_at_ms") and name not in values}
    with _ops(config_path).writing() as connection:
        number = rows.enqueue(connection, kind, values, now_ms)
    click.echo(json.dumps({"operation": number}) if as_json else tr("queued as operation {number}", number=number))


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(tr("{text!r} is not NAME=VALUE", text=text))
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _ask(config_path: Path, kind: str, argument: dict[str, Any], *, as_json: bool) -> None:
    """Leave a request for sync and wait a little for its answer."""
    ops = _ops(config_path)
    number = ask(ops, kind, argument)
    answer = awaited(ops, number, ANSWER_S)
    if as_json:
        click.echo(json.dumps({"request": number, "answer": answer}, ensure_ascii=False))
    else:
        click.echo(looked_up(answer) if answer else tr("asked; sync does it as soon as it runs"))


def _ops(config_path: Path) -> OpsFile:
    from ..adapters.ops import OpsFile

    return OpsFile(load_config(config_path, secrets=False).ops_path)


def _words(state: str) -> str:
    return looked_up(_WORDS[state])


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
