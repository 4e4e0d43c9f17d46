"""A request's body to the events in it: JSON read exactly, numbers as they stand, and one canonical text of each.

Pure. Refuses the whole request only where it cannot be told what is in it: no JSON, a key twice in one object,
too deep, too many. What is readable but wrong is a failed event, and that is judged elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from aquasmart_cloud.core.model import MAX_DEPTH
from aquasmart_cloud.core.problems import Refusal
from aquasmart_cloud.core.strict_json import invalid, malformed

MAX_EVENTS = 1_000
"""Events in one request, where the client's own limit is not lower."""
_MAX_CONTAINERS = 100_000
_LONG_NUMBER = 400

_CANONICAL = msgspec.json.Encoder(decimal_format="number", order="sorted")


class _DuplicateKeyError(ValueError):
    pass


def read_events(body: bytes, most: int = MAX_EVENTS) -> tuple[list[Any], bool]:
    """The events of a body, and whether it is a single one. Errors: Refusal malformed, invalid, too-large."""
    document = read_json(body)
    if isinstance(document, dict) and isinstance(document.get("events"), list):
        events, single = document["events"], False
    elif isinstance(document, list):
        events, single = document, False
    elif isinstance(document, dict):
        events, single = [document], True
    else:
        raise invalid("$", "an object, or an object with a list 'events', is wanted")
    if len(events) > most:
        raise Refusal("too-large", f"{len(events)} events; at most {most} go into one request")
    if not events:
        raise invalid("$.events", "there is no event in it")
    return events, single


def read_json(body: bytes) -> Any:
    """A JSON value with exact numbers: int or Decimal. NaN and infinities become their names, which are no numbers.

    Errors: Refusal malformed (no JSON), invalid (a key twice, too deep, a number too long, half a character).
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start} is not UTF-8") from error
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS:
        raise invalid("$", "too many objects and lists")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_float=_decimal, parse_int=_whole, parse_constant=str)
    except json.JSONDecodeError as error:
        raise malformed(f"not JSON: {error.msg} at character {error.pos}") from error
    except _DuplicateKeyError as error:
        raise invalid("$", "a key stands twice in one object") from error
    except RecursionError as error:
        raise invalid("$", f"deeper than {MAX_DEPTH} levels") from error
    _check(value)
    return value


def canonical(value: Any) -> bytes:
    """The one text of a JSON value: keys sorted, numbers as they stood. What is hashed and kept as received."""
    return _CANONICAL.encode(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _decimal(text: str) -> Decimal | str:
    """A number of JSON; one that no Decimal holds stays a text, and fails as an amount."""
    if len(text) > _LONG_NUMBER:
        return text
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _whole(text: str) -> int | str:
    return int(text) if len(text) <= _LONG_NUMBER else text


def _check(value: Any) -> None:
    """Depth, and text that can be stored: level by level, no recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                inner += each.keys()
                inner += each.values()
            elif isinstance(each, str):
                if not each.isascii() and any("\ud800" <= letter <= "\udfff" for letter in each):
                    raise invalid("$", "half a character (a lone surrogate)")
            elif isinstance(each, Sequence):
                inner += each
        if not inner:
            return
        level = inner
    raise invalid("$", f"deeper than {MAX_DEPTH} levels")
