"""Words for people: whatever the station's command, its errors and its page say can be said in another language.

A sentence is named where it is made: `tr`/`trn` in cli/, `Phrase`/`counted` elsewhere, `{{ tr(…) }}` on a page
(docs/decisions/0050-translations.md). The catalogues themselves are whole: nothing missing, nothing stale.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from deploy.translations.__main__ import stale

from .tree import Finding, SourceFile

STATION = "station/src/aquasmart_station/"
NOT_YET: dict[str, str] = {}
"""Modules whose words are not marked yet, with the reason. A module that has none left must go from here."""

SAID = frozenset(
    {"echo", "secho", "UsageError", "ClickException", "BadParameter", "prompt", "confirm", "confirmed", "table"}
)
"""Functions of cli/ whose first argument a person reads; of `table` every one."""
NO_ERRORS_OF_OURS = re.compile(
    r"(?:Assertion|Attribute|Import|Index|Key|Lookup|NotImplemented|OS|Runtime|Type|Value)Error|SystemExit|Abort|_.*"
)
"""What is raised to programmers, and caught by them."""
NAMES_OF_THINGS = frozenset({"AquaSmart", "JSON", "L/min", "L", "aquasmart pin set"})
"""On the page, the same in every language."""


def marked_in_code(file: SourceFile) -> Iterator[Finding]:
    """A sentence that is printed, or raised in an error of ours, as a plain string."""
    name = file.path.removeprefix(STATION)
    if not file.python or name == file.path:
        return
    found = list(_plain(file, name))
    if name not in NOT_YET:
        yield from found
    elif not found:
        yield file.finding(1, "words", f"has no unmarked words any more: take {name!r} out of NOT_YET")


def _plain(file: SourceFile, name: str) -> Iterator[Finding]:
    raised = {id(node.exc) for node in ast.walk(file.syntax) if isinstance(node, ast.Raise)}
    for node in ast.walk(file.syntax):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        spoken: list[ast.expr] = []
        if name.startswith("cli/") and function in SAID:
            spoken = node.args if function == "table" else node.args[:1]
        elif id(node) in raised and not NO_ERRORS_OF_OURS.fullmatch(function):
            spoken = list(node.args)
        spoken += [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
        for each in spoken:
            if _has_words(each):
                yield file.finding(
                    each.lineno, "words", f"{function}() says a plain string: tr(), Phrase() or counted()"
                )
        if function in {"option", "version_option"}:
            for keyword in node.keywords:
                if keyword.arg == "help" and not isinstance(keyword.value, ast.Constant):
                    yield file.finding(node.lineno, "words", "help must stand there as it is")


def _has_words(node: ast.expr) -> bool:
    """Whether a literal, or an f-string by its own text, has a word of two letters. Names of commands are no words."""
    if isinstance(node, ast.JoinedStr):
        text = " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.IfExp):
        return _has_words(node.body) or _has_words(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple):
        return any(map(_has_words, node.elts))
    elif isinstance(node, ast.ListComp):
        return _has_words(node.elt)
    elif isinstance(node, ast.BinOp):
        return _has_words(node.left) or _has_words(node.right)
    else:
        return False
    return re.search(r"[A-Za-z]{2,}", re.sub(r"aquasmart|MiB|KiB|L/min", "", text)) is not None


def marked_on_pages(file: SourceFile) -> Iterator[Finding]:
    """Text between a page's tags that is not said by `tr` or `trn`."""
    if not file.path.startswith(STATION) or not file.path.endswith(".html"):
        return
    for number, line in enumerate(file.text.splitlines(), 1):
        bare = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", line)
        for piece in re.sub(r"<[^>]*>?", "\n", bare).splitlines():
            text = piece.strip(" ·–")
            if text and text not in NAMES_OF_THINGS and re.search(r"[A-Za-z]{2,}", text) and ">" not in text:
                yield file.finding(number, "words", f"{text!r} is not said by tr()")


def catalogues() -> Iterator[Finding]:
    """Whatever is missing in, or stale of, the catalogues."""
    for each in stale():
        yield Finding("station/locale", 1, "words", each)
