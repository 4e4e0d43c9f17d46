"""Sentences for people that are English and can still be said in another language. Pure.

A `Phrase` is a string: whoever writes it to a log, a journal, a status line, JSON or the wire writes English, without
knowing of languages. It also keeps its template and values, so that where a person reads it (cli/words.py, the panel)
it can be said in that person's language. Whatever makes another string of it (an f-string, `+`, `strip`) makes plain
English: nothing breaks, and the check of `make translations` does not see it. So compose with values and `joined`.

No catalogue is looked up here; adapters/languages.py has them. Why so: docs/decisions/0050-translations.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

LANGUAGES = ("en", "es")
"""English, and those with a catalogue in locale/."""


class Catalogue(Protocol):
    """The translations of one language, as `gettext` of the standard library has them."""

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str: ...


class _Sentence(str):  # noqa: SLOT000 - its values are what it is for
    """What both kinds share: a copy is itself, and another process gets English."""

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Phrase(_Sentence):
    """A template in English with its values. `Phrase("{meter} is {state}", meter="tap-1", state=…)`.

    A value may be a phrase itself. Without values the template is taken as it is.
    """

    template: str
    plural: str | None
    number: int
    values: Mapping[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Phrase:
        return cls.made(template, None, 1, values)

    @classmethod
    def made(cls, template: str, plural: str | None, number: int, values: Mapping[str, Any]) -> Phrase:
        chosen = template if plural is None or number == 1 else plural
        made = super().__new__(cls, chosen.format(**values) if values else chosen)
        made.template, made.plural, made.number = template, plural, number
        # Not an exception itself: it would keep the frames that it passed through, and all that they held.
        made.values = {
            name: str(value) if isinstance(value, BaseException) else value for name, value in values.items()
        }
        return made

    def into(self, catalogue: Catalogue) -> str:
        """The same in the catalogue's language; English where it has no translation."""
        if self.plural is None:
            template = catalogue.gettext(self.template)
        else:
            template = catalogue.ngettext(self.template, self.plural, self.number)
        if not self.values:
            return template
        return template.format(**{name: translated(value, catalogue) for name, value in self.values.items()})


class Joined(_Sentence):
    """Phrases and other strings one after the other, each of them translated by itself."""

    separator: str
    parts: tuple[str, ...]

    def __new__(cls, separator: str, parts: Iterable[str]) -> Joined:
        kept = tuple(parts)
        made = super().__new__(cls, separator.join(kept))
        made.separator, made.parts = separator, kept
        return made


def counted(one: str, more: str, n: int, /, **values: Any) -> Phrase:
    """A phrase that depends on a number, which both templates may show as `{n}`."""
    return Phrase.made(one, more, n, {"n": n, **values})


def joined(separator: str, parts: Iterable[str]) -> str:
    """`separator.join(parts)`; the parts remain translatable."""
    return Joined(separator, parts)


def sentences(*parts: str) -> str:
    """What is said one after the other, without what is empty."""
    return Joined(" ", (part for part in parts if part))


def marked(text: str) -> str:
    """The text itself: named here for the catalogue, looked up elsewhere."""
    return text


def translated(value: Any, catalogue: Catalogue) -> Any:
    """A phrase in the catalogue's language; anything else as it is."""
    if isinstance(value, Phrase):
        return value.into(catalogue)
    if isinstance(value, Joined):
        return value.separator.join(translated(part, catalogue) for part in value.parts)
    return value


def packed(text: str) -> Any:
    """A phrase as JSON can carry it from one process to another; None for a plain string, which carries itself."""
    if isinstance(text, Phrase):
        values = {name: _packed_value(value) for name, value in text.values.items()}
        return {"said": text.template, "plural": text.plural, "number": text.number, "values": values}
    if isinstance(text, Joined):
        return {"separator": text.separator, "parts": [_packed_value(part) for part in text.parts]}
    return None


def _packed_value(value: Any) -> Any:
    if isinstance(value, str):
        return packed(value) or str(value)
    return value if isinstance(value, int | float) else str(value)


def unpacked(document: Any, english: str) -> str:
    """What `packed` made. Where that does not give the English sentence that came with it, that sentence."""
    try:
        found = _unpacked(document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return english
    return found if found == english else english


def _unpacked(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    if "said" in document:
        values = {str(name): _unpacked(value) for name, value in document["values"].items()}
        return Phrase.made(document["said"], document["plural"], int(document["number"]), values)
    return Joined(document["separator"], [_unpacked(part) for part in document["parts"]])
