"""`aquasmart panel`: the technician's page as a service, and `aquasmart pin`: who may change something there."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from ..config import load_config
from .words import tr


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to answer; else systemd's socket, or 127.0.0.1:8080.")
@click.pass_obj
def panel(config_path: Path, listen: str | None) -> None:
    """Show the station's page on its own network, until nobody looks any more or SIGTERM."""
    config = load_config(config_path, secrets=False)
    try:
        from ..wiring.paneling import run_panel
    except ModuleNotFoundError as missing:
        raise click.ClickException(
            tr(
                "the panel needs {module}: install the package's extra `panel`, or Debian's python3-flask and"
                " python3-waitress",
                module=missing.name,
            )
        ) from missing
    run_panel(config, listen)


@click.group()
def pin() -> None:
    """The technician's PIN for the panel."""


@pin.command("set")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read it from standard input instead of asking.")
@click.pass_obj
def set_pin(config_path: Path, *, from_stdin: bool) -> None:
    """Set the PIN: 6 to 12 digits. Only its hash is kept."""
    from ..adapters.durable_files import write_durably
    from ..core.pin import keep

    path = load_config(config_path, secrets=False).panel.pin_file
    said = sys.stdin.readline().strip() if from_stdin else _asked()
    try:
        kept = keep(said, secrets.token_bytes(16))
    except ValueError as fault:
        raise click.ClickException(tr("{fault}; nothing was changed", fault=fault.args[0])) from fault
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, kept + "\n", 0o640)
        if os.geteuid() == 0:
            _for_the_panel(path)
    except OSError as fault:
        raise click.ClickException(
            tr("{path} cannot be written: {strerror}; run this as root", path=path, strerror=fault.strerror)
        ) from fault
    click.echo(tr("set: {path} holds its hash", path=path))


@pin.command("clear")
@click.pass_obj
def clear_pin(config_path: Path) -> None:
    """Remove the PIN: the panel shows, and changes nothing."""
    path = load_config(config_path, secrets=False).panel.pin_file
    try:
        path.unlink(missing_ok=True)
    except OSError as fault:
        raise click.ClickException(
            tr("{path} cannot be removed: {strerror}; run this as root", path=path, strerror=fault.strerror)
        ) from fault
    click.echo(tr("no PIN: nothing can be changed from the panel"))


def _asked() -> str:
    said: str = click.prompt(tr("new PIN, 6 to 12 digits"), hide_input=True, confirmation_prompt=True)
    return said.strip()


def _for_the_panel(path: Path) -> None:
    """Readable by the panel's own user, where the machine has one."""
    import grp

    try:
        os.chown(path, -1, grp.getgrnam("aquasmart-panel").gr_gid)
    except KeyError:
        return
