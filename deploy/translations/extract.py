"""Every sentence that the station's package may show to a person, out of its source: by syntax, nothing is imported.

Named by `Phrase("…")`, `counted("…", "…", n)`, `marked("…")`, `tr("…")`, `trn("…", "…", n)`, on pages by
`{{ tr("…") }}` and `{{ trn(…) }}`; and the help of commands and options, which click is given as it stands.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, nodes

SINGULAR = frozenset({"Phrase", "marked", "tr"})
PLURAL = frozenset({"counted", "trn"})
MAKERS = frozenset({"core/phrases.py", "cli/words.py", "panel/speaking.py"})
"""Where those functions are made: they alone take what is no literal."""


class Message(NamedTuple):
    """One sentence; `plural` where it depends on a number."""

    singular: str
    plural: str | None = None


class NotLiteral(Exception):
    """A sentence that only the running program knows: it cannot be translated."""


def messages(package: Path) -> dict[Message, list[str]]:
    """Every message of the package with the files it stands in, in their order. Raises NotLiteral."""
    found: dict[Message, list[str]] = {}
    for path in sorted((*package.rglob("*.py"), *package.rglob("*.html"))):
        name = path.relative_to(package).as_posix()
        text = path.read_text(encoding="utf-8")
        for each in in_template(text) if path.suffix == ".html" else in_source(text, name):
            places = found.setdefault(each, [])
            if name not in places:
                places.append(name)
    return found


def in_source(text: str, name: str) -> Iterator[Message]:
    """The messages of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield from _called(node, name)
        elif isinstance(node, ast.FunctionDef) and any(_is_command(each) for each in node.decorator_list):
            help_text = ast.get_docstring(node, clean=True)
            if help_text:
                yield Message(inspect.cleandoc(help_text))


def in_template(text: str) -> Iterator[Message]:
    """The messages of a page."""
    for call in Environment(autoescape=True).parse(text).find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name not in SINGULAR | PLURAL:
            continue
        wanted = 2 if call.node.name in PLURAL else 1
        given = [each.value for each in call.args[:wanted] if isinstance(each, nodes.Const)]
        if len(given) != wanted:
            raise NotLiteral(f"line {call.lineno}: {call.node.name}() needs its words as they are")
        yield Message(*given)


def _called(node: ast.Call, name: str) -> Iterator[Message]:
    function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if isinstance(node.func, ast.Name) and function in SINGULAR | PLURAL:
        wanted = 2 if function in PLURAL else 1
        given = [each.value for each in node.args[:wanted] if isinstance(each, ast.Constant)]
        if name not in MAKERS:
            if len(given) != wanted or not all(isinstance(each, str) for each in given):
                raise NotLiteral(f"{name}:{node.lineno}: {function}() needs its words as they are")
            yield Message(*map(str, given))
        elif given and isinstance(given[0], str) and len(given) == wanted:
            yield Message(*map(str, given))
    elif function in {"option", "version_option", "help_option"} or function == "Option":
        for keyword in node.keywords:
            if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                yield Message(inspect.cleandoc(str(keyword.value.value)))


def _is_command(decorator: ast.expr) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(call, ast.Attribute) and call.attr in {"command", "group"}
