"""The words of click itself that a person meets here, named for the catalogue.

click looks its messages up in the process's domain (cli/words.py sets it). Those of the versions that we support differ
a little; one that is not here stays English. Nothing imports this module: it is read by `make translations`.
"""

from __future__ import annotations

from ..core.phrases import counted, marked

WORDS = (
    marked("Usage:"),
    marked("Usage: "),
    marked("Options"),
    marked("Positional arguments"),
    marked("Commands"),
    marked("required"),
    marked("default: {default}"),
    marked("env var: {var}"),
    marked("Show this message and exit."),
    marked("Show the version and exit."),
    marked("%(prog)s, version %(version)s"),
    marked("Error: {message}"),
    marked("Error: The two entered values do not match."),
    marked("Aborted!"),
    marked("Repeat for confirmation"),
    marked("Try '{command} {option}' for help."),
    marked("No such command {name!r}."),
    marked("No such option {name!r}."),
    marked("No such option: {name}"),
    marked("Did you mean {possibility}?"),
    marked("(Did you mean one of: {possibilities}?)"),
    marked("Missing command."),
    marked("Missing argument"),
    marked("Missing option"),
    marked("Missing parameter"),
    marked("Invalid value for {param_hint}: {message}"),
    marked("Invalid value: {message}"),
    marked("Option {name!r} does not take a value."),
    marked("Option {name!r} requires an argument."),
    marked("{value!r} is not a valid {number_type}."),
    marked("{value} is not in the range {range}."),
    marked("file"),
    marked("directory"),
    marked("path"),
    marked("{name} {filename!r} does not exist."),
    marked("{name} {filename!r} is a directory."),
    marked("{name} {filename!r} is a file."),
)
PLURALS = (
    counted("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})", 1, args=""),
    counted("{value!r} is not {choice}.", "{value!r} is not one of {choices}.", 1, value="", choice="", choices=""),
)
