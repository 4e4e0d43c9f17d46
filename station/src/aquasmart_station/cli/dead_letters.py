"""`aquasmart dead-letters`: the events that the cloud refuses for good, kept here until somebody has seen to them."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..config import load_config
from ..core.showing import litres
from .words import tr, trn

if TYPE_CHECKING:
    from ..adapters.log_dead_letters import DeadLetter

_json = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document, volumes in µl.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Events that the cloud refuses for good. Their volume is in the books; what they say besides is only here."""


@dead_letters.command("list")
@_json
@click.pass_obj
def list_letters(config_path: Path, *, as_json: bool) -> None:
    """Every dead letter, the oldest first."""
    letters = _all(config_path)
    if as_json:
        click.echo(json.dumps({"dead_letters": [each.document() for each in letters]}, ensure_ascii=False))
        return
    for each in letters:
        document = each.document()
        resent = "  " + tr("sent again") if each.resent_at_ms else ""
        click.echo(
            f"{each.name}  {each.header.meter_id or tr('station')}  {document['row']['kind']}  "
            f"{litres(document['volume_ul'], 6)} L  {each.code}: {each.detail}{resent}"
        )
    if letters:
        click.echo(
            tr("`aquasmart dead-letters show NAME` says more; `retry NAME` sends one again once the cloud is mended")
        )
    else:
        click.echo(tr("no dead letters: the cloud has refused nothing for good"))


@dead_letters.command()
@click.argument("name")
@_json
@click.pass_obj
def show(config_path: Path, name: str, *, as_json: bool) -> None:
    """One dead letter whole. NAME is STREAM:SEQ as `list` shows it; the beginning of STREAM is enough."""
    letter = _named(config_path, name)
    document = letter.document()
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for key, value in document.items():
        if key.endswith("_at") and value is not None:
            value = datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")  # noqa: PLW2901
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
        click.echo(f"{key}: {'-' if text is None else text}")
    click.echo(tr("the cloud's log has the refusal under trace {trace_id}", trace_id=letter.trace_id))


@dead_letters.command()
@click.argument("name")
@_json
@click.pass_obj
def retry(config_path: Path, name: str, *, as_json: bool) -> None:
    """Send one again, once the cloud is mended. Its volume is in the books already, and is not added again."""
    from ..adapters.ops import OpsFile
    from ..services.resending import ask_again

    letter = _named(config_path, name)
    ops = OpsFile(load_config(config_path, secrets=False).ops_path)
    with contextlib.closing(ops), ops.writing() as connection:
        number = ask_again(connection, letter, time.time_ns() // 1_000_000)
    if as_json:
        click.echo(json.dumps({"operation": number, "dead_letter": letter.name}))
    else:
        click.echo(
            tr(
                "queued as operation {number}; `aquasmart operations show {number}` says what became of it",
                number=number,
            )
        )


@dead_letters.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document about it.")
@click.pass_obj
def export(config_path: Path, target: Path, *, as_json: bool) -> None:
    """Write every dead letter to TARGET, one JSON document a line, each with its stream's header."""
    letters = _all(config_path)
    text = "".join(json.dumps(each.export(), ensure_ascii=False) + "\n" for each in letters)
    try:
        target.write_text(text, "utf-8")
    except OSError as fault:
        raise click.ClickException(
            tr("{target} cannot be written: {strerror}", target=target, strerror=fault.strerror)
        ) from fault
    if as_json:
        click.echo(json.dumps({"file": str(target), "dead_letters": len(letters)}))
    else:
        click.echo(trn("{path}: {n} dead letter", "{path}: {n} dead letters", len(letters), path=target))


def _all(config_path: Path) -> list[DeadLetter]:
    from ..adapters.log_dead_letters import read_dead_letters

    return read_dead_letters(load_config(config_path, secrets=False).log_path)


def _named(config_path: Path, name: str) -> DeadLetter:
    stream, _, seq = name.partition(":")
    found = [
        each
        for each in _all(config_path)
        if str(each.header.id).startswith(stream.lower()) and str(each.row.seq) == seq
    ]
    if len(found) == 1:
        return found[0]
    text = tr(
        "there is no dead letter {name}; `aquasmart dead-letters list` shows those that there are", name=repr(name)
    )
    if found:
        text = tr(
            "more than one dead letter begins with {name}; `aquasmart dead-letters list` shows them", name=repr(name)
        )
    raise click.ClickException(text)
