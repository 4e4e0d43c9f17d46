"""The slow, exact reading of JSON: what the typed decoder lets pass or cannot name.

Tells apart what is no JSON (400 `malformed`) from what is JSON of a wrong shape (422 `invalid`): duplicate
keys, depth, lengths of text. Pure. The fast path calls it only for the small `data` of single rows.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .model import MAX_DEPTH, MAX_TEXT
from .problems import Fault, Refusal

_MAX_CONTAINERS = 200_000
"""More brackets than any batch needs: refused before they become objects, so that memory stays bounded."""


class _DuplicateKeyError(ValueError):
    pass


def malformed(what: str) -> Refusal:
    """The refusal of bytes that are not what they say they are."""
    return Refusal("malformed", what)


def invalid(where: str, what: str) -> Refusal:
    """The refusal of one value, by its JSON path."""
    return Refusal("invalid", f"{where}: {what}", faults=[Fault(where, what)])


def _constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def parse(body: bytes, *, where: str = "$", depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON document, each rule of RFC 8259 and of docs/protocol.md §4 applied.

    `depth` is how many levels this value may have. Errors: Refusal `malformed` or `invalid`.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start} is not UTF-8") from error
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS:
        raise invalid(where, "too many objects and lists")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise malformed(f"not JSON: {error.msg} at character {error.pos}") from error
    except _DuplicateKeyError as error:
        raise invalid(where, "a key stands twice in one object") from error
    except RecursionError as error:
        raise invalid(where, f"deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise invalid(where, "a number is too long") from error
    _check(value, where, depth)
    return value


def _check(value: Any, where: str, levels: int) -> None:
    """Depth and length of text, level by level: no recursion, whatever was sent."""
    level = [value]
    for _ in range(levels + 1):
        inner: list[Any] = []
        containers = False
        for each in level:
            if isinstance(each, dict):
                containers = True
                _check_texts(each, where)
                inner += each.values()
            elif isinstance(each, list):
                containers = True
                inner += each
            elif isinstance(each, str):
                _check_texts((each,), where)
        if not containers:
            return
        level = inner
    raise invalid(where, f"deeper than {MAX_DEPTH} levels")


def _check_texts(texts: Any, where: str) -> None:
    for text in texts:
        if len(text) > MAX_TEXT:
            raise invalid(where, f"text of more than {MAX_TEXT} characters")
