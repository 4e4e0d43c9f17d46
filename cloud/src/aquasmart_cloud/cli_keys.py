"""The command about the master key: `rekey`. Arguments in, the service called, words or JSON out."""

from __future__ import annotations

from pathlib import Path

import click

from .cli_progress import bars
from .cli_wiring import Wiring, as_json, print_json, wired
from .services import rekeying


@click.command()
@click.option("--make-only", is_flag=True, help="Only make the coming key, to be copied to other machines first.")
@as_json
@wired
def rekey(wiring: Wiring, *, make_only: bool, as_json: bool) -> None:
    """Change the master key, and seal every stored secret under the new one, while the cloud runs.

    Broken off, the same command goes on. Afterwards the former key opens nothing in this database; backups made before
    need it still. People sign in again. Exit status 1 if something stored opens with no key that there is.
    """
    file = wiring.keys.file or Path()
    if make_only:
        made = rekeying.make_next(file)
        if as_json:
            print_json({"file": str(made)})
        else:
            click.echo(f"{made} is the coming key: copy it beside {file.name} on every machine, then run rekey on each")
        return
    with bars(quiet=as_json) as progress:
        done = rekeying.rekey(file, wiring.database, progress)
    found = done.resealed
    if as_json:
        print_json(
            {
                "file": str(file),
                "resumed": done.resumed,
                "sealed": found.sealed,
                "already": found.already,
                "unreadable": found.unreadable,
            }
        )
    else:
        click.echo(f"{found.sealed} secrets sealed under {'the' if done.resumed else 'a new'} master key {file}")
        if found.already:
            click.echo(f"{found.already} were already")
    if found.unreadable:
        raise click.ClickException(
            f"no key opens {', '.join(found.unreadable[:20])}{' …' if len(found.unreadable) > 20 else ''}\n"
            "they were unusable before too: give these stations new keys with 'aquasmart-cloud station rotate-key ID'"
        )
    if not as_json:
        click.echo("keep it where you keep master keys, apart from backups; the former one only with older backups")
