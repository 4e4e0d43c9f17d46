"""The catalogues of translations, and which language somebody wants. Reads the package's own files, nothing else.

The catalogues are GNU .mo files, made by `make translations`; the standard library reads them.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ..core.phrases import LANGUAGES

DOMAIN = "aquasmart"
FOLDER = Path(__file__).resolve().parent.parent / "locale"
ENGLISH = "en"


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The translations into `language`, one of LANGUAGES; those of English change nothing."""
    if language == ENGLISH or language not in LANGUAGES:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, FOLDER, [language], fallback=True)


def first_known(wanted: Iterable[str], otherwise: str = ENGLISH) -> str:
    """The first language of some locales (`es_MX.UTF-8`, `es-MX`, `es`) that we speak."""
    for each in wanted:
        language = re.split(r"[_.@-]", each, maxsplit=1)[0].lower()
        if language in LANGUAGES:
            return language
    return otherwise


def language_of(environment: Mapping[str, str]) -> str:
    """The language of messages by the environment, as GNU gettext has it: LC_ALL, LC_MESSAGES, LANG say the locale;
    LANGUAGE is a list that goes before it, except where the locale is C."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "")
    preferred = environment.get("LANGUAGE", "")
    if re.split(r"[.@]", locale, maxsplit=1)[0] in {"C", "POSIX"}:
        return ENGLISH
    return first_known([*filter(None, preferred.split(":")), *filter(None, [locale])])
