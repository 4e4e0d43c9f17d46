"""`aquasmart`: the technician's command and the services' entry points.

Commands import what they need when they run: `aquasmart reader` must not carry what `aquasmart sync` needs.
Exit status: 0 done, 1 an error that was named, 2 wrong usage, 75 busy, 78 a configuration that cannot be used
(sysexits.h); `check` has more of its own.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from .. import __version__
from ..core.errors import BadConfig, StationError
from .conventions import DEFAULT_CONFIG, EX_CONFIG
from .words import put_into_words, shown

_COMMANDS = {
    "reader": ("aquasmart_station.cli.services", "reader"),
    "sync": ("aquasmart_station.cli.services", "sync"),
    "update-agent": ("aquasmart_station.cli.services", "update_agent"),
    "status": ("aquasmart_station.cli.status", "status"),
    "watch": ("aquasmart_station.cli.watch", "watch"),
    "metrics": ("aquasmart_station.cli.metrics", "metrics"),
    "doctor": ("aquasmart_station.cli.doctor", "doctor"),
    "provision": ("aquasmart_station.cli.provision", "provision"),
    "update": ("aquasmart_station.cli.update", "update"),
    "check": ("aquasmart_station.cli.check", "check"),
    "clock": ("aquasmart_station.cli.clock", "clock"),
    "log": ("aquasmart_station.cli.log", "log"),
    "dead-letters": ("aquasmart_station.cli.dead_letters", "dead_letters"),
    "reset": ("aquasmart_station.cli.reset", "reset"),
    "tail": ("aquasmart_station.cli.tail", "tail"),
    "drain": ("aquasmart_station.cli.drain", "drain"),
    "visit": ("aquasmart_station.cli.visit", "visit"),
    "operations": ("aquasmart_station.cli.operations", "operations"),
    "config": ("aquasmart_station.cli.settings", "config"),
    "meter": ("aquasmart_station.cli.meter", "meter"),
    "led": ("aquasmart_station.cli.led", "led"),
    "panel": ("aquasmart_station.cli.panel", "panel"),
    "pin": ("aquasmart_station.cli.panel", "pin"),
    "bundle": ("aquasmart_station.cli.bundle", "bundle"),
    "completion": ("aquasmart_station.cli.completion", "completion"),
    "manual": ("aquasmart_station.cli.manual", "manual"),
    "simulate": ("aquasmart_station.cli.simulate", "simulate"),
}


class _Lazy(click.Group):
    """Imports a command's module only when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return put_into_words(command)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    envvar="AQUASMART_CONFIG",
    help="The station's configuration file.",
)
@click.version_option(__version__, prog_name="aquasmart")
@click.pass_context
def group(context: click.Context, config_path: Path) -> None:
    """AquaSmart station: counts the water, keeps the log, tells the cloud."""
    context.obj = config_path


def main() -> None:
    """Run the command line; every error of ours becomes one message and an exit status."""
    put_into_words(group)
    try:
        status = group.main(standalone_mode=False)
        # A command that ends with a status of its own: click returns it here.
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except BadConfig as fault:
        _say(fault)
        sys.exit(EX_CONFIG)
    except StationError as fault:
        _say(fault)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; there is nobody to tell
        sys.exit(0)


def _say(fault: StationError) -> None:
    click.echo(f"aquasmart: {shown(fault.message)}", err=True)
    if fault.hint:
        click.echo(shown(fault.hint), err=True)
