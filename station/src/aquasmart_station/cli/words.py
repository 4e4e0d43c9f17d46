"""The command's words in the language of who types it. Everything that a command shows to a person goes through here.

`tr` and `trn` name a sentence and say it; `shown` says one that came from elsewhere. What goes to a program (`--json`)
or to systemd does not come here and stays English.
"""

from __future__ import annotations

import gettext
import inspect
import os
from typing import Any
from weakref import WeakKeyDictionary

import click

from ..adapters.languages import DOMAIN, ENGLISH, FOLDER, catalogue, language_of
from ..core.phrases import Catalogue, Phrase, counted, translated

_language: str | None = None
_source: WeakKeyDictionary[click.Command | click.Option, str] = WeakKeyDictionary()


def speak(language: str) -> None:
    """Use this language from now on, whatever the environment says."""
    global _language  # noqa: PLW0603 - one command, one person
    _language = language
    if language == ENGLISH:
        gettext.textdomain("messages")
        return
    # click's own words ("Usage", "No such option") are looked up by it in the process's domain.
    gettext.bindtextdomain(DOMAIN, FOLDER)
    gettext.textdomain(DOMAIN)


def _spoken() -> Catalogue:
    if _language is None:
        speak(language_of(os.environ))
    return catalogue(_language or ENGLISH)


def shown(text: str) -> str:
    """A sentence from another layer, for this person."""
    return str(translated(text, _spoken()))


def tr(template: str, /, **values: Any) -> str:
    """A sentence of the command's own, with its values."""
    return shown(Phrase(template, **values))


def trn(one: str, more: str, n: int, /, **values: Any) -> str:
    """One that depends on a number, shown as `{n}`."""
    return shown(counted(one, more, n, **values))


def looked_up(text: str) -> str:
    """A text that is named elsewhere, by `marked`, in this language; not yet filled in."""
    return _spoken().gettext(text)


def confirmed(question: str, *, abort: bool = False, err: bool = False) -> bool:
    """Ask yes or no; nothing typed means no. `question` is said already. Raises click.Abort with `abort`."""
    yes = {word for word in (*tr("y yes").split(), "y", "yes") if word}
    no = {word for word in (*tr("n no").split(), "n", "no", "") if word} | {""}
    hint = tr("y/N")
    while True:
        answer = str(click.prompt(f"{question} [{hint}]", default="", show_default=False, err=err)).strip().lower()
        if answer in yes:
            return True
        if answer in no:
            if abort:
                raise click.Abort
            return False
        click.echo(tr("Please answer yes or no."), err=err)


def put_into_words(command: click.Command) -> click.Command:
    """A command, with all below it, whose help is in this person's language."""
    help_text = _english(command)
    if help_text:
        command.help = _spoken().gettext(help_text)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and (option_help := _english(parameter)):
            parameter.help = _spoken().gettext(option_help)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            put_into_words(each)
    return command


def _english(described: click.Command | click.Option) -> str | None:
    """Its help as it stands in the source, however often it has been translated; without a docstring's indentation."""
    if described.help and described not in _source:
        _source[described] = inspect.cleandoc(described.help)
    return _source.get(described)
