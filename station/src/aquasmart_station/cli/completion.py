"""`aquasmart completion`: what makes a shell complete the command's words; printed, or installed for one person."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from .words import tr

SHELLS = ("bash", "zsh", "fish")
FILES = {
    "bash": Path(".local/share/bash-completion/completions/aquasmart"),
    "zsh": Path(".local/share/zsh/site-functions/_aquasmart"),
    "fish": Path(".config/fish/completions/aquasmart.fish"),
}


def script(shell: str) -> str:
    """The completion script of a shell, as the packages ship it."""
    from .main import group

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(group, {}, "aquasmart", "_AQUASMART_COMPLETE")
    return made.source_template % made.source_vars()


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Put it where the shell of this user looks for it.")
def completion(shell: str | None, *, install: bool) -> None:
    """Completion of words for SHELL (default: the one in use). The packages install it for everybody."""
    used = shell or Path(os.environ.get("SHELL", "bash")).name
    if used not in SHELLS:
        raise click.UsageError(
            tr("no completion for {used}; there is one for {shells}", used=used, shells=", ".join(SHELLS))
        )
    if not install:
        click.echo(script(used), nl=False)
        return
    path = Path.home() / FILES[used]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(used))
    click.echo(tr("{path} is written; new shells complete", path=path))
    if used == "zsh":
        click.echo(tr("zsh needs, before compinit in ~/.zshrc:  fpath+=(~/.local/share/zsh/site-functions)"))
