"""`aquasmart reader`, `sync` and `update-agent`: the services, as systemd starts them."""

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


@click.command("update-agent")
@click.pass_obj
def update_agent(config_path: Path) -> None:
    """Fetch and install updates of the image that the cloud offers, until SIGTERM."""
    from ..wiring.updating import run_update_agent

    run_update_agent(load_config(config_path))
