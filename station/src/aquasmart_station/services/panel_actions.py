"""What a technician may do from the panel. Each leaves an operation or a request in ops.db for the services."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

from ..adapters import operation_rows
from ..adapters.log_dead_letters import read_dead_letters
from ..adapters.ops import OpsFile
from ..config import Config
from .resending import ask_again


def resend_dead_letters(config: Config) -> str:
    """Queue every dead letter that was not sent again. Raises LogError, OpsError, BadOperation."""
    letters = [letter for letter in read_dead_letters(config.log_path) if letter.resent_at_ms is None]
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        for letter in letters:
            ask_again(connection, letter, _now_ms())
    return f"{len(letters)} refused event{'s' if len(letters) != 1 else ''} queued to be sent again"


def retry_operations(config: Config) -> str:
    """Ask sync to try every failed operation again. Raises OpsError."""
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        failed = operation_rows.listed(connection, ("failed",))
        for each in failed:
            operation_rows.ask(connection, "retry", {"operation": each.id}, _now_ms())
    return f"{len(failed)} operation{'s' if len(failed) != 1 else ''} will be tried again"


ACTIONS: Mapping[str, Callable[[Config], str]] = {
    "resend-dead-letters": resend_dead_letters,
    "retry-operations": retry_operations,
}
"""By the name in the form. A new action is a function and a row here, and its button in the page."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
