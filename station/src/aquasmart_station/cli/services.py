"""`aquasmart reader` and `aquasmart sync`: the two services, as systemd starts them."""

from __future__ import annotations

from pathlib import Path

import click

from ..config import load_config


@click.command()
@click.pass_obj
def reader(config_path: Path) -> None:
    """Poll the meters and keep the log, until SIGTERM."""
    from ..wiring.reading import run_reader

    run_reader(load_config(config_path, secrets=False))


@click.command()
@click.pass_obj
def sync(config_path: Path) -> None:
    """Take the log to the cloud, until SIGTERM."""
    from ..wiring.syncing import run_sync

    run_sync(load_config(config_path))
