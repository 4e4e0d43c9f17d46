"""The command `doctor`. Arguments in, the service called, words or JSON out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .cli_wiring import as_json, now_ms, print_json
from .config import EXIT_CONFIG, Config
from .core.errors import ConfigError
from .services.doctor import BAD, Finding, Patient, examine
from .store.database import Database

_SIGNS = {"good": "ok  ", "warning": "warn", "bad": "BAD ", "unknown": "?   "}


@click.command()
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder that backups are written to: how old is the newest?",
)
@as_json
def doctor(*, backups: Path | None, as_json: bool) -> None:
    """Look at everything the cloud needs, and say what to do next. Changes nothing.

    Exit status 0 if nothing is bad (warnings are not), 1 if something is, 78 if the configuration is unusable.
    """
    status = 0
    try:
        config = Config.from_environment()
    except ConfigError as error:
        findings = [Finding("configuration", BAD, fault) for fault in error.faults]
        status = EXIT_CONFIG
    else:
        database = Database(config.database_url)
        try:
            findings = list(examine(Patient(config, database, now_ms(), backups)))
        finally:
            database.close()
        status = int(any(each.state == BAD for each in findings))
    if as_json:
        print_json({"well": status == 0, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            click.echo(f"{_SIGNS[each.state]}  {each.what + ':':14} {each.said}")
            if each.next:
                click.echo(f"{'':21}next: {each.next}")
    raise SystemExit(status)
