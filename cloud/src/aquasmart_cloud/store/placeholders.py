"""SQLite's placeholders to PostgreSQL's: `?` and `?1` become `$1`, `$2`, … Pure text work.

A number that stands several times becomes several parameters. PostgreSQL gives each parameter one type, and the same
text may be compared with a varchar in one place and stored in a uuid column in the next.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\?(\d*)")
"""Quoted text is passed over: a question mark there is one."""


class Translated(NamedTuple):
    """A statement in PostgreSQL's form; `order` says which parameter is which, None where they are in order."""

    sql: bytes
    order: tuple[int, ...] | None


@cache
def translated(sql: str) -> Translated:
    """The statement with PostgreSQL's placeholders. Cached: statements are constants of the program."""
    order: list[int] = []

    def number(match: re.Match[str]) -> str:
        if not match[0].startswith("?"):
            return match[0]
        order.append(int(match[1]) - 1 if match[1] else len(order))
        return f"${len(order)}"

    text = _TOKEN.sub(number, sql)
    return Translated(text.encode(), None if order == list(range(len(order))) else tuple(order))
