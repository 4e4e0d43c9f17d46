"""`aquasmart config`: which settings are in force, where they come from, and a change made on the spot."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from ..config import Config, load_config
from ..core.errors import BadOperation
from ..core.phrases import marked
from .words import looked_up, tr


@click.group("config")
def config() -> None:
    """Settings that may change while the station runs."""


@config.command("show")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def show(config_path: Path, *, as_json: bool) -> None:
    """What is in force above station.toml, what is on trial, and what was refused or rolled back, with the reasons."""
    from ..adapters import config_rows
    from ..adapters.ops import OpsFile

    with OpsFile(load_config(config_path, secrets=False).ops_path).reading() as connection:
        force = config_rows.in_force(connection)
        cloud, local = config_rows.rows(connection, "cloud"), config_rows.rows(connection, "local")
    document = config_rows.display(force) | {
        "documents": [
            {"version": row.version, "sha256": row.sha256, "state": row.state, "reasons": row.reasons} for row in cloud
        ],
        "local_changes": [
            {
                "key": ".".join(row.key),
                "value": row.value,
                "former": (row.former or {}).get("value"),
                "state": row.state,
                "change_token": row.txn_token,
                "reasons": row.reasons,
            }
            for row in local
        ],
    }
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else "\n".join(_lines(document)))


def _lines(document: dict[str, Any]) -> list[str]:
    version = tr("version {version}", version=document["version"])
    lines = [tr("{version}, ON TRIAL", version=version) if document["trial"] else version]
    lines += json.dumps(document["settings"], indent=2, ensure_ascii=False).splitlines()
    for row in document["documents"]:
        if row["state"] in {"refused", "rolled-back"}:
            lines += [_verdict(row), *(f"  {reason}" for reason in row["reasons"])]
    for row in document["local_changes"]:
        if row["state"] != "superseded":
            said = tr("{key} set here: {words}", key=row["key"], words=_words(row["state"]))
            lines.append("; ".join([said, *row["reasons"]]))
    return lines


def _verdict(row: dict[str, Any]) -> str:
    if row["state"] == "refused":
        return tr("version {version} refused:", version=row["version"])
    return tr("version {version} rolled-back:", version=row["version"])


_WORDS = {
    "desired": marked("in force, the cloud has not confirmed it yet"),
    "unconfirmed": marked("in force, UNCONFIRMED: telling the cloud failed, see `aquasmart operations list`"),
    "applied": marked("in force and confirmed"),
    "rolled-back": marked("ROLLED BACK, the cloud refused it"),
    "conflict": marked("CONFLICT: the cloud's value counts; `aquasmart operations resolve`"),
}


def _words(state: str) -> str:
    return looked_up(_WORDS.get(state, state))


@config.command("set")
@click.argument("name")
@click.argument("value")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def set_setting(config_path: Path, name: str, value: str, *, as_json: bool) -> None:
    """Set NAME (such as reader.commit_interval_s) to VALUE, at once; the cloud is told and may refuse."""
    table, _, setting = name.partition(".")
    try:
        wanted = json.loads(value)
    except ValueError as fault:
        raise click.UsageError(tr("{value!r} is not a number", value=value)) from fault
    change(load_config(config_path, secrets=False), (table, setting), wanted, None, as_json=as_json)


def change(config: Config, key: tuple[str, ...], value: Any, base_value: Any, *, as_json: bool) -> None:
    """Make a local change and say what happens next."""
    number, token = changed(config, key, value, base_value)
    if as_json:
        click.echo(json.dumps({"operation": number, "change_token": token, "key": ".".join(key), "value": value}))
        return
    click.echo(
        tr(
            "{key} is in force now; the cloud is told as operation {number} and may refuse it,",
            key=".".join(key),
            number=number,
        )
    )
    click.echo(tr("then the former value comes back: `aquasmart config show` says how it stands"))


def changed(config: Config, key: tuple[str, ...], value: Any, base_value: Any) -> tuple[int, str]:
    """Make a local change; the operation's number and the change's token. Raises BadOperation, OpsError."""
    from ..adapters.ops import OpsFile
    from ..services.local_changes import change_setting
    from ..wiring.remote import top_counts

    return change_setting(
        OpsFile(config.ops_path),
        key,
        value,
        base_value=base_value,
        meters=top_counts(config),
        now_ms=time.time_ns() // 1_000_000,
    )


def scale_value(k_factor: str | None, ul_per_count: str | None) -> dict[str, int]:
    """A scale by pulses per litre or by µl per count, exactly as written. Raises UsageError."""
    if (k_factor is None) == (ul_per_count is None):
        raise click.UsageError(tr("say either --k-factor (pulses per litre) or --ul-per-count"))
    try:
        exact = Fraction(1_000_000) / Fraction(k_factor) if k_factor is not None else Fraction(ul_per_count or "")
    except (ValueError, ZeroDivisionError) as fault:
        raise click.UsageError(tr("{text} is no number above 0", text=repr(k_factor or ul_per_count))) from fault
    if exact <= 0:
        raise BadOperation(tr("a scale must be above 0"), hint=tr("Nothing was changed."))
    return {"ul_num": exact.numerator, "den": exact.denominator}
