"""`aquasmart manual`: the man page aquasmart.1, made of the commands' own help, so that the two cannot differ.

`make manual` writes it to station/share/man; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from .. import __version__
from ..adapters.languages import ENGLISH
from .words import put_into_words, speak

_EXIT = (
    ("0", "done"),
    ("1", "an error that was named; with doctor: at least one fault"),
    ("2", "wrong usage"),
    ("3", "doctor: warnings only; check: the log was damaged and has been salvaged"),
    ("4", "check: damage was seen, and nothing touched"),
    ("75", "busy, or not yet: try again"),
    ("78", "a configuration or provisioning file that cannot be used"),
    ("130", "interrupted; nothing was changed, or what was asked goes on"),
)
_FILES = (
    ("/etc/aquasmart/station.toml", "the configuration"),
    ("/boot/firmware/aquasmart.toml", "the provisioning file"),
    ("/var/lib/aquasmart/log.db", "the log"),
    ("/var/lib/aquasmart/ops.db", "operations, requests and settings"),
    ("/run/aquasmart/live.db", "what the services show of themselves"),
)
_ENVIRONMENT = (
    ("AQUASMART_CONFIG", "another configuration file, as with --config"),
    ("NO_COLOR", "no colours on a terminal either"),
)


@click.command(hidden=True)
def manual() -> None:
    """Print the man page."""
    # What the packages ship is one for all, whoever makes it.
    speak(ENGLISH)
    click.echo(page(), nl=False)


def page() -> str:
    """aquasmart.1 in troff."""
    from .main import group

    put_into_words(group)
    root = click.Context(group, info_name="aquasmart")
    lines = [
        '.\\" Made by `make manual` from the commands themselves.',
        f'.TH AQUASMART 1 "" "aquasmart-station {__version__}" "AquaSmart"',
        ".SH NAME",
        "aquasmart \\- count the water of a refill station and tell the cloud",
        ".SH SYNOPSIS",
        ".B aquasmart",
        "[\\fB\\-\\-config\\fR \\fIFILE\\fR] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]",
        ".SH DESCRIPTION",
        *_text(group.help or ""),
        *_options(group, root),
        ".SH COMMANDS",
    ]
    for context in _commands(group, root):
        lines += _command(context)
    for title, rows in (("EXIT STATUS", _EXIT), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        lines.append(f".SH {title}")
        for name, words in rows:
            lines += [".TP", f".B {_escaped(name)}", _escaped(words)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
        else:
            yield context


def _command(context: click.Context) -> list[str]:
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    head = [f'.SS "{_escaped(context.command_path)}"', f".B {_escaped(context.command_path)}", _escaped(usage), ".PP"]
    return [*head, *_text(command.help or ""), *_options(command, context)]


def _options(command: click.Command, context: click.Context) -> list[str]:
    lines = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            lines += [".TP", f".B {_escaped(record[0])}", _escaped(record[1])]
    return lines


def _text(text: str) -> list[str]:
    """Paragraphs; a line that troff would take for a request is not one."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += [".PP", _escaped(" ".join(paragraph.split()))]
    return lines[1:]


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
