"""`aquasmart metrics`: figures for Prometheus, or for a file that its node exporter collects."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from ..config import load_config
from ..core.metrics import Family, render
from .words import tr


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For other programs: one JSON document.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to FILE, whole or not at all.")
@click.pass_obj
def metrics(config_path: Path, *, as_json: bool, output: Path | None) -> None:
    """Print what the station measures of itself, in Prometheus' text format."""
    from ..services.metrics import station_metrics

    families = station_metrics(load_config(config_path, secrets=False))
    text = _as_json(families) if as_json else render(families)
    if output is None:
        click.echo(text, nl=False)
        return
    fresh = output.with_name(f".{output.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, output)  # noqa: PTH105 - the collector must never see half a file
    except OSError as fault:
        raise click.ClickException(
            tr("{output} cannot be written: {strerror}", output=output, strerror=fault.strerror)
        ) from fault


def _as_json(families: Sequence[Family]) -> str:
    document = {
        family.name: {
            "type": family.kind,
            "help": family.help,
            "samples": [
                {"name": family.name + sample.suffix, "labels": sample.labels, "value": sample.value}
                for sample in family.samples
            ],
        }
        for family in families
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
