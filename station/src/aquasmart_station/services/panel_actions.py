"""What a technician may do from the panel. Each leaves an operation or a request in ops.db for the services."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping

from ..adapters import operation_rows
from ..adapters.live import read_meters
from ..adapters.log_dead_letters import read_dead_letters
from ..adapters.ops import OpsFile
from ..config import Config
from ..core.accounting_view import FROZEN
from ..core.errors import BadOperation
from ..core.phrases import Phrase, counted
from .resending import ask_again
from .swapping import SWAP, swap_argument


def drain(config: Config, _of: str = "") -> str:
    """Ask sync to send at once. Raises OpsError."""
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        operation_rows.ask(connection, "drain", {}, _now_ms())
    return Phrase("sync sends now what waits")


def swap(config: Config, of: str = "") -> str:
    """Acknowledge that another meter, which answers now, is at tap `of`. Raises BadOperation, OpsError."""
    said = read_meters(config.live_path).get(of)
    if said is None or said.state != FROZEN:
        raise BadOperation(
            Phrase("no other meter is seen at {tap}", tap=of), hint=Phrase("Look again: nothing was changed.")
        )
    former, found = said.figures.get("identity"), said.figures.get("found_identity")
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        operation_rows.ask(connection, SWAP, swap_argument(of, former, found, str(uuid.uuid4())), _now_ms())
    return Phrase("asked: the reader counts meter {meter} at {tap} from the count first seen", meter=found, tap=of)


def resend_dead_letters(config: Config, _of: str = "") -> str:
    """Queue every dead letter that was not sent again. Raises LogError, OpsError, BadOperation."""
    letters = [letter for letter in read_dead_letters(config.log_path) if letter.resent_at_ms is None]
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        for letter in letters:
            ask_again(connection, letter, _now_ms())
    return counted(
        "{n} refused event queued to be sent again", "{n} refused events queued to be sent again", len(letters)
    )


def retry_operations(config: Config, _of: str = "") -> str:
    """Ask sync to try every failed operation again. Raises OpsError."""
    with contextlib.closing(OpsFile(config.ops_path)) as ops, ops.writing() as connection:
        failed = operation_rows.listed(connection, ("failed",))
        for each in failed:
            operation_rows.ask(connection, "retry", {"operation": each.id}, _now_ms())
    return counted("{n} operation will be tried again", "{n} operations will be tried again", len(failed))


ACTIONS: Mapping[str, Callable[[Config, str], str]] = {
    "drain": drain,
    "swap": swap,
    "resend-dead-letters": resend_dead_letters,
    "retry-operations": retry_operations,
}
"""By the name in the form, each given what it is about. A new one is a function, a row here, its button in the page."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
