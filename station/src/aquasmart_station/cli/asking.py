"""How a command asks a service for something: a row in ops.db, which its owner carries out and answers.

What is asked stays asked when the command ends, is interrupted, or the power goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..adapters import operation_rows

if TYPE_CHECKING:
    from ..adapters.ops import OpsFile

LOOK_EVERY_S = 0.1


def ask(ops: OpsFile, kind: str, argument: dict[str, Any]) -> int:
    """Leave a request; its number. Raises OpsError."""
    with ops.writing() as connection:
        return operation_rows.ask(connection, kind, argument, time.time_ns() // 1_000_000)


def awaited(ops: OpsFile, number: int, within_s: float, meanwhile: Callable[[], None] = lambda: None) -> str | None:
    """The owner's answer; None where there is none in time. Raises OpsError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with ops.reading() as connection:
            found = operation_rows.answer_to(connection, number)
        if found is not None:
            return found
        meanwhile()
        time.sleep(LOOK_EVERY_S)
    return None
